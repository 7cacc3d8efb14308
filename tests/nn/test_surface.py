"""The surface teacher's network: its sides, and what an exported file says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from dife_lightning.errors import CheckpointError
from dife_lightning.methods.surface_teacher import SurfaceTeacher
from dife_lightning.nn.surface import SurfaceNet
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.weights.checkpoints import read_tensors, write_tensors


@pytest.mark.parametrize(("halvings", "seen"), [(0, 8), (1, 16), (2, 32)])
def test_a_halving_doubles_what_the_network_sees_and_keeps_the_grid(halvings: int, seen: int) -> None:
    network, images = SurfaceNet(dim=4, side=8, width=8, blocks=1, halvings=halvings).eval(), torch.rand(2, 3, 64, 64)
    found = network.coarse(images)
    assert found.shape == (2, 4, 8, 8)
    for side, same in ((seen, True), (seen // 2, False)):
        small = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        assert torch.allclose(network.coarse(small), found, atol=1e-4) == same


def test_dropout_acts_in_training_alone() -> None:
    network, images = SurfaceNet(dim=4, side=8, width=8, blocks=1, dropout=0.5), torch.rand(1, 3, 16, 16)
    assert not torch.equal(network.train().coarse(images), network.coarse(images))
    assert torch.equal(network.eval().coarse(images), network.coarse(images))


def test_an_exported_file_is_read_with_its_halvings(tmp_path: Path) -> None:
    teacher, path = (
        SurfaceTeacher(dim=4, side=8, width=8, blocks=1, halvings=2, dropout=0.3),
        tmp_path / "t.safetensors",
    )
    teacher.export(path)
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(load_embedder(path).embed(images), teacher.eval().embed(images))
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "architecture": metadata["architecture"].replace(": 2", ": 1")})
    with pytest.raises(CheckpointError, match="halvings"):
        load_embedder(path)
