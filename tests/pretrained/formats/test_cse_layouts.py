"""DensePose CSE in the files of detectron2's model zoo and of its trainings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dife_lightning import load_embedder
from dife_lightning.errors import CheckpointError
from dife_lightning.nn.cse import CSENetwork
from dife_lightning.pretrained.converting import convert
from tests.nn.public_cse import filled, tiny_shapes
from tests.pretrained.formats.writers import write_detectron2


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
@pytest.mark.parametrize("deeplab", [False, True])
def test_files_of_either_kind_embed_as_the_network_does(tmp_path: Path, suffix: str, deeplab: bool) -> None:
    tensors = filled(tiny_shapes(deeplab))
    write_detectron2(tmp_path / f"cse{suffix}", tensors)
    found = load_embedder(tmp_path / f"cse{suffix}")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(found.embed(images), CSENetwork.from_tensors(tensors).embed(images))
    assert found.dim == found.embed(images).shape[1]


@torch.no_grad()
def test_a_converted_file_is_the_same_embedder(tmp_path: Path) -> None:
    write_detectron2(tmp_path / "cse.pkl", filled(tiny_shapes()))
    card = convert(tmp_path / "cse.pkl", tmp_path / "cse.safetensors")
    assert card["kind"] == "cse"
    images = torch.rand(1, 3, 64, 64)
    first, second = (load_embedder(tmp_path / f"cse.{kind}").embed(images) for kind in ("pkl", "safetensors"))
    assert torch.equal(first, second)


def test_a_wrong_tensor_is_named_with_both_shapes(tmp_path: Path) -> None:
    tensors = filled(tiny_shapes())
    name = "backbone.bottom_up.res3.0.conv1.norm.bias"
    tensors[name] = torch.zeros(7)
    write_detectron2(tmp_path / "cse.pkl", tensors)
    with pytest.raises(CheckpointError, match=rf"cse\.pkl.*'{name}' is \(7,\).*expects \(6,\)") as error:
        load_embedder(tmp_path / "cse.pkl")
    assert "\n" not in str(error.value)
