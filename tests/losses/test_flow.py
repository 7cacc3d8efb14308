from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dife_lightning.losses.flow import REACH, end_point_error, sparse_flow


def slow_sparse_flow(start: Tensor, end: Tensor, visible: Tensor, stride: float, side: int) -> list[list[Tensor]]:
    """For each cell, row by row, the displacements in cells of the key points whose box of 35/16 strides holds it."""
    found: list[list[Tensor]] = []
    for y in range(side):
        for x in range(side):
            centre = torch.tensor([x, y]) * stride + (stride - 1) / 2
            moves = [
                (e - s) / stride
                for s, e, seen in zip(start, end, visible, strict=True)
                if seen and (s - centre).abs().max() <= 35 / 16 * stride / 2
            ]
            found.append(moves)
    return found


@pytest.mark.parametrize(("size", "side"), [(256, 16), (64, 16), (64, 8)])
def test_sparse_flow_equals_a_slow_twin(size: int, side: int) -> None:
    start, end = torch.rand(2, 2, 9, 2).mul(size).unbind(0)
    start[:, 1] = start[:, 0] + size / side / 4  # so that a cell has two
    visible = torch.rand(2, 9) < 0.8
    visible[:, :2] = True
    flow, known = sparse_flow(start, end, visible, size, side)
    for b in range(2):
        for cell, moves in enumerate(slow_sparse_flow(start[b], end[b], visible[b], size / side, side)):
            y, x = divmod(cell, side)
            assert bool(known[b, y, x]) == bool(moves)
            expected = torch.stack(moves).mean(0) if moves else torch.zeros(2)
            torch.testing.assert_close(flow[b, :, y, x], expected, atol=1e-4, rtol=0)
    assert known.sum() > 2 * 9


def test_an_image_and_itself_have_a_flow_of_zero_that_is_known_and_counts() -> None:
    points = torch.rand(1, 5, 2) * 50 + 7
    flow, known = sparse_flow(points, points, torch.ones(1, 5, dtype=torch.bool), 64, 16)
    assert flow.abs().max() == 0
    assert known.sum() >= 5
    ones = torch.ones(1, 2, 16, 16)
    assert end_point_error(ones, flow, known).item() == pytest.approx(2**0.5)


def test_points_that_are_hidden_say_nothing_even_if_they_are_nowhere() -> None:
    start, end = torch.rand(2, 1, 3, 2).mul(64).unbind(0)
    visible = torch.tensor([[True, False, True]])
    wanted = sparse_flow(start[:, ::2], end[:, ::2], visible[:, ::2], 64, 16)
    start[:, 1] = end[:, 1] = float("nan")
    found = sparse_flow(start, end, visible, 64, 16)
    assert all(map(torch.equal, found, wanted))


def test_the_box_of_a_cell_is_that_of_the_official_training() -> None:
    assert REACH * 16 == 35
    for offset, expected in ((17.4, True), (17.6, False)):
        start = torch.tensor([[[7.5 + 5 * 16 + offset, 7.5 + 5 * 16]]])
        _, known = sparse_flow(start, start, torch.ones(1, 1, dtype=torch.bool), 256, 16)
        assert bool(known[0, 5, 5]) is expected


def test_the_error_is_the_mean_distance_over_known_cells_of_the_whole_batch() -> None:
    flow, wanted = torch.randn(2, 3, 2, 4, 4).unbind(0)
    known = torch.rand(3, 4, 4) < 0.4
    distances = [(flow[i] - wanted[i]).square().sum(0).sqrt()[known[i]] for i in range(3)]
    torch.testing.assert_close(end_point_error(flow, wanted, known), torch.cat(distances).mean())


def test_without_a_known_cell_the_error_and_its_gradient_are_zero() -> None:
    flow = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = end_point_error(flow, torch.full((1, 2, 3, 3), torch.inf), torch.zeros(1, 3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert flow.grad is not None
    assert flow.grad.abs().max() == 0


def test_a_perfect_flow_has_a_finite_gradient() -> None:
    flow = torch.zeros(1, 2, 3, 3, requires_grad=True)
    end_point_error(flow, torch.zeros(1, 2, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool)).backward()
    assert flow.grad is not None
    assert flow.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_error_is_float32_under_autocast(dtype: torch.dtype) -> None:
    flow, wanted = torch.randn(2, 1, 2, 4, 4).unbind(0)
    known = torch.ones(1, 4, 4, dtype=torch.bool)
    with torch.autocast("cpu", dtype):
        half = end_point_error(flow, wanted, known)
    assert half.dtype == torch.float32
    assert torch.equal(half, end_point_error(flow, wanted, known))
