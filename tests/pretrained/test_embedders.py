"""Frozen embedders: found by name, file or run, kept while the file is the same, refused where its metadata lies."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dife_lightning import load_embedder
from dife_lightning.errors import AssetError, CheckpointError, ConfigError
from dife_lightning.methods.dife import DIFE
from dife_lightning.weights.checkpoints import read_tensors, write_tensors
from tests.tiny import dife_arguments, write_run, write_teacher


def write_dife(path: Path, seed: int) -> DIFE:
    path.parent.mkdir(parents=True, exist_ok=True)
    arguments = dife_arguments(path.parent)
    torch.manual_seed(seed)
    method = DIFE(**arguments)
    content = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams), "method": "dife"}
    torch.save(content, path)
    return method.eval()


def images(batch: int = 2, height: int = 32, width: int = 64) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1


@torch.no_grad()
def test_a_trained_method_embeds_and_converts_by_name_or_number(tmp_path: Path) -> None:
    method = write_dife(tmp_path / "m.ckpt", 0)
    found = load_embedder(tmp_path / "m.ckpt")
    embedding = found.embed(images())
    torch.testing.assert_close(embedding, method.embed(images()))
    assert torch.equal(found.convert(embedding, 1), found.convert(embedding, "dog"))
    assert not torch.equal(found.convert(embedding, 0), found.convert(embedding, "dog"))
    with pytest.raises(ConfigError, match="no converter for domain 'cat'"):
        found.convert(embedding, "cat")
    for wrong in (-1, 2):
        with pytest.raises(ConfigError, match=rf"no domain {wrong}: .*m\.ckpt has human, dog, counted from 0"):
            found.convert(embedding, wrong)


def test_embedders_without_converters_say_so(tmp_path: Path) -> None:
    found = load_embedder(write_teacher(tmp_path / "t.safetensors"))
    with pytest.raises(ConfigError, match="has no converters"):
        found.convert(found.embed(images()), 0)


@torch.no_grad()
def test_a_run_that_went_on_is_another_embedder(tmp_path: Path) -> None:
    last = write_dife(tmp_path / "run/checkpoints/last.ckpt", 1)
    first = load_embedder(tmp_path / "run")
    assert load_embedder(str(tmp_path / "run")).module is first.module
    torch.testing.assert_close(first.embed(images()), last.embed(images()))
    best = write_dife(tmp_path / "run/checkpoints/best.ckpt", 2)
    assert not torch.allclose(best.embed(images()), last.embed(images()), atol=0.1)
    torch.testing.assert_close(load_embedder(tmp_path / "run").embed(images()), best.embed(images()))
    better = write_dife(tmp_path / "run/checkpoints/best.ckpt", 3)
    torch.testing.assert_close(load_embedder(tmp_path / "run").embed(images()), better.embed(images()))
    torch.testing.assert_close(first.embed(images()), last.embed(images()))  # who holds it keeps it


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "world/teacher").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert load_embedder("world/teacher").dim == 16


def test_what_is_no_embedder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.pth").touch()
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"kind": "recipe"})
    write_run(tmp_path / "gan")
    for name, kind, text in (
        ("folder", CheckpointError, "folder has no checkpoints/best.ckpt or last.ckpt"),
        ("empty.pth", CheckpointError, "empty.pth is empty (0 bytes)"),
        ("other.pth", CheckpointError, "other.pth is no embedder of a known layout"),
        ("other.safetensors", CheckpointError, "other.safetensors is no embedder (found recipe, expected"),
        ("gan", CheckpointError, "last.ckpt holds a StyleGAN2, which has no embed(images)"),
        ("missing.pth", AssetError, "no asset or file"),
    ):
        with pytest.raises(kind, match=re.escape(text)) as error:
            load_embedder(tmp_path / name)
        assert "\n" not in str(error.value)


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "blocks": ({"blocks": 10**12}, "its metadata says blocks 1000000000000, its tensors 1"),
    "width": ({"width": 10**9}, "its metadata says width 1000000000, its tensors 8"),
    "dim": ({"dim": 6}, "its metadata says dim 6, its tensors 8"),
    "side": ({"side": 10**9}, "its metadata says side 1000000000, expected 1 to 1024"),
    "no_number": ({"side": "8"}, "its metadata says side 8, expected 1 to 1024"),
}


@pytest.mark.parametrize("name", sorted(LIES))
def test_sizes_that_a_file_merely_declares_are_refused_before_anything_is_built(tmp_path: Path, name: str) -> None:
    tensors, metadata = read_tensors(write_teacher(tmp_path / "t.safetensors"))
    changes, text = LIES[name]
    metadata["architecture"] = json.dumps({**json.loads(metadata["architecture"]), **changes})
    write_tensors(tmp_path / "lie.safetensors", tensors, metadata)
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=rf"lie\.safetensors: {re.escape(text)}"):
        load_embedder(tmp_path / "lie.safetensors")
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("architecture", ["", "[]", "3", '"x"', "{}", "null"])
def test_metadata_that_describes_nothing_is_one_clear_line(tmp_path: Path, architecture: str) -> None:
    tensors, metadata = read_tensors(write_teacher(tmp_path / "t.safetensors"))
    write_tensors(tmp_path / "x.safetensors", tensors, {**metadata, "architecture": architecture})
    with pytest.raises(CheckpointError, match=r"x\.safetensors") as error:
        load_embedder(tmp_path / "x.safetensors")
    assert "\n" not in str(error.value)
