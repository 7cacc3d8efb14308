from __future__ import annotations

import pytest
import torch

from dife_lightning.nn.cse.roi_align import roi_align_legacy
from tests.nn.slow_roi_align import slow_roi_align

BOXES = {
    "whole image": [0, 0, 44, 28],
    "inside": [9.3, 5.1, 31.7, 22.4],
    "half outside": [-13, 10, 20, 47],
    "far outside": [100, 100, 140, 140],
    "smaller than a cell": [10, 10, 11, 10.5],
    "turned round": [30, 20, 10, 5],
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_pooling_equals_its_definition(box: list[float], samples: int) -> None:
    features = torch.randn(1, 2, 7, 11)
    boxes = torch.tensor([box])
    found = roi_align_legacy(features, boxes, 5, 1 / 4, samples)
    torch.testing.assert_close(found, slow_roi_align(features, boxes, 5, 1 / 4, samples), atol=2e-5, rtol=0)


def test_each_map_has_its_own_box() -> None:
    features = torch.randn(4, 3, 7, 11)
    boxes = torch.tensor([BOXES[name] for name in list(BOXES)[:4]])
    together = roi_align_legacy(features, boxes, 4, 1 / 4)
    torch.testing.assert_close(together, slow_roi_align(features, boxes, 4, 1 / 4), atol=2e-5, rtol=0)


def test_a_box_on_a_ramp_reads_cells_without_the_half_cell() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    pooled = roi_align_legacy(ramp, torch.tensor([[16.0, 16.0, 48.0, 48.0]]), 8, 1 / 4)
    torch.testing.assert_close(pooled[0, 0, 0], torch.arange(8) + 4.5)  # an aligned variant would read 4 to 11


def test_a_map_of_one_cell_is_spread() -> None:
    pooled = roi_align_legacy(torch.full((1, 1, 1, 1), 3.0), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), 2, 1 / 4)
    assert torch.equal(pooled, torch.full((1, 1, 2, 2), 3.0))


def test_gradients_reach_the_map_and_are_those_of_its_values() -> None:
    features = torch.randn(2, 2, 5, 6, requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 24.0, 20.0], [3.0, 4.0, 17.0, 16.0]])
    weights = torch.randn(2, 2, 3, 3)
    (roi_align_legacy(features, boxes, 3, 1 / 4) * weights).sum().backward()
    probe = torch.randn_like(features)
    directional = (slow_roi_align(probe, boxes, 3, 1 / 4) * weights).sum()  # pooling is linear
    torch.testing.assert_close((features.grad * probe).sum(), directional, atol=1e-4, rtol=1e-5)


def test_pooling_is_float32_under_autocast() -> None:
    features = torch.randn(1, 2, 9, 9)
    boxes = torch.tensor([[0.0, 0.0, 36.0, 36.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = roi_align_legacy(features, boxes, 4, 1 / 4)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, roi_align_legacy(features, boxes, 4, 1 / 4))
