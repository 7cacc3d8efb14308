"""What runs in every step and every validation works on a device like Apple's GPUs, which lack some operations.

``test_other_devices.py`` runs this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dife_lightning.data.stream import LatentStream, synthesize
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.coordinates import _resize_by_products, resize_maps
from dife_lightning.methods.dife import DIFE
from dife_lightning.metrics.fid import FrechetDistance
from dife_lightning.metrics.keypoint_transfer import KeypointTransferMetric
from dife_lightning.metrics.landmark_error import LandmarkErrorMetric
from dife_lightning.pretrained.variation import variation
from dife_lightning.viz.embedding import embedding_colors
from experiments.gpu_check.composition import Composition
from tests.refusing_device import NAME, refusing_device
from tests.tiny import dife_arguments


def test_the_stand_in_notes_what_an_apple_gpu_cannot_do():
    with refusing_device() as refused:
        maps = torch.ones(1, 1, 8, 8).to(NAME).requires_grad_()
        F.avg_pool2d(maps, 2).sum().backward()
        assert maps.grad is not None
        assert maps.grad.device.type == NAME
        assert refused == []
        F.interpolate(maps, (3, 3), mode="bilinear", antialias=True).sum().backward()
        maps.double()
        torch.zeros(2, dtype=torch.float64, device=NAME)
        maps + torch.ones(8)
    assert [what.split()[0] for what in refused] == ["_upsample_bilinear2d_aa_backward", "_to_copy", "zeros", "add"]


@pytest.mark.parametrize(("shape", "side"), [((9, 9), 4), ((7, 7), 5), ((12, 8), 5), ((5, 5), 8), ((4, 9), 6)])
def test_resizing_by_products_is_antialiased_interpolation(shape, side):
    maps = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, (side, side), mode="bilinear", antialias=True)
    torch.testing.assert_close(_resize_by_products(maps, side), expected, atol=1e-5, rtol=0)


def test_resizing_has_its_gradient_there():
    maps = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    here = maps.clone().requires_grad_()
    resize_maps(here, 4).square().sum().backward()
    with refusing_device() as refused:
        there = maps.to(NAME).requires_grad_()
        resize_maps(there, 4).square().sum().backward()
        assert there.grad is not None
        torch.testing.assert_close(there.grad.cpu(), here.grad, atol=1e-5, rtol=0)
    assert refused == []


@pytest.mark.parametrize("side", [16, 12])
def test_a_step_of_both_stages_runs_there(side, tmp_path: Path):
    arguments: dict[str, Any] = dife_arguments(tmp_path)
    arguments["matching_loss"] = {**arguments.get("matching_loss", {}), "side": side}
    with refusing_device() as refused:
        model = DIFE(**arguments).to(NAME)
        model.log = lambda *a, **k: None  # type: ignore[method-assign,assignment]
        model.setup("fit")
        latent = LatentStream(dict.fromkeys(arguments["generators"], 8), 2).batch(0).to(NAME)
        batch = synthesize(latent, model.generators, 3, 32, 0.7, AugmentOptions())
        losses = model.distill(batch)
        model.pairs.refresh(model, 0, 0)
        losses |= model.match(model.pairs.sample(0, 0, 0))
        torch.stack(list(losses.values())).sum().backward()
        assert all(p.grad is None or p.grad.device.type == NAME for p in model.parameters())
    assert refused == []


def test_the_plain_composition_of_a_step_runs_there(tmp_path: Path):
    model = DIFE(**dife_arguments(tmp_path, converter={"hidden": 8, "groups": 4, "kernel": 3}))
    with refusing_device() as refused:
        composition = Composition(model, 4, torch.device(NAME, 0))
        composition.step(0, matching=False, refresh=False)
        composition.step(1, matching=True, refresh=True)
        assert composition.partners["dog"].device.type == NAME
    assert refused == []


def test_the_metrics_count_in_float64_on_the_cpu():
    images = torch.rand(2, 6, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points, seen, side = torch.rand(2, 12, 2) * 31, torch.ones(2, 12, dtype=torch.bool), torch.full((2,), 32.0)
    values = {}
    for device in ("cpu", NAME):
        with refusing_device() as refused:
            distance, transfer = FrechetDistance().to(device), KeypointTransferMetric().to(device)
            for real in (True, False):
                distance.update(images[int(real)].to(device), real=real)
            update = (torch.arange(2), points, points + 1, seen, side)
            transfer.update(*(part.to(device) for part in update))
            detection = LandmarkErrorMetric("animalweb-9").to(device)
            boxes = torch.tensor([[0.0, 0, 20, 30]] * 2)
            update = (torch.arange(2), points[:, :9], points[:, :9] + 1, seen[:, :9], boxes)
            detection.update(*(part.to(device) for part in update))
            both = {k: float(v) for metric in (transfer, detection) for k, v in metric.compute().items()}
            values[device] = float(distance.compute()), both
            distance.reset()
            assert float(distance.real_count) == 0
        assert refused == []
    assert values["cpu"][0] == pytest.approx(values[NAME][0])
    assert values["cpu"][1] == pytest.approx(values[NAME][1], nan_ok=True)


def test_colours_and_variation_of_an_embedding_are_computed_on_the_cpu():
    maps = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    with refusing_device() as refused:
        torch.testing.assert_close(embedding_colors(maps.to(NAME)), embedding_colors(maps))
        assert variation(maps.to(NAME)) == variation(maps)
    assert refused == []
