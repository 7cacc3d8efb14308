"""Surface teachers: a file is read as it was written, and a changed one or an impossible code is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.methods.click_teacher import ClickTeacher
from dife_lightning.methods.surface_teacher import SurfaceTeacher
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.weights.checkpoints import read_tensors, write_tensors


def test_an_exported_file_is_read_with_its_architecture(tmp_path: Path) -> None:
    teacher, path = SurfaceTeacher(dim=4, side=8, width=8, blocks=2), tmp_path / "t.safetensors"
    teacher.export(path)
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(load_embedder(path).embed(images), teacher.eval().embed(images))
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "architecture": metadata["architecture"].replace(": 2", ": 1")})
    with pytest.raises(CheckpointError, match="blocks"):
        load_embedder(path)


def test_a_teacher_of_a_code_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="dim is 15; the surface code has an even number of channels"):
        ClickTeacher(dim=15)
    with pytest.raises(ConfigError, match="code_scale is 0"):
        ClickTeacher(code_scale=0)
