"""Hourglasses of the authors' DIFE and of DVE: files give what the networks in them give."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dife_lightning import load_embedder
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.converter import Converter
from dife_lightning.nn.hourglass import HourglassEncoder
from tests.nn.filled import read_golden

Shared = Callable[[str], Path]
GOLDEN = "golden/hourglass_dve_dife"
SMALL: dict[str, Any] = {"planes": (16, 16, 32), "blocks": 1, "depth": 3}


def official(converters: int = 2, features: int = 5) -> tuple[HourglassEncoder, list[Converter], dict[str, Tensor]]:
    torch.manual_seed(converters)
    encoder = HourglassEncoder(8, **SMALL).eval()
    parts = [Converter(8, features + i).eval() for i in range(converters)]
    state = {f"hg.{k}": v for k, v in encoder.state_dict().items()}
    for i, part in enumerate(parts):
        state |= {f"transformer.interspecies2d{i}_{k}": v for k, v in part.state_dict().items()}
    return encoder, parts, state


@torch.no_grad()
def test_official_networks_embed_and_convert(tmp_path: Path) -> None:
    encoder, converters, state = official()
    torch.save(state, tmp_path / "human+dog.pth")
    found = load_embedder(tmp_path / "human+dog.pth")
    images = torch.rand(2, 3, 32, 64) * 2 - 1
    embedding = found.embed(images)
    torch.testing.assert_close(embedding, encoder(images))
    assert found.dim == 8
    for i, converter in enumerate(converters):
        torch.testing.assert_close(found.convert(embedding, i), converter(embedding))
    for wrong in (-1, 2, "dog", None):
        with pytest.raises(ConfigError, match=f"no domain {wrong!r}: the checkpoint has 2 converters, counted from 0"):
            found.convert(embedding, wrong)  # type: ignore[arg-type]
    for dtype in (torch.float64, torch.float16):
        assert found.embed(images.to(dtype)).dtype == torch.float32
        assert found.convert(embedding.to(dtype), 0).dtype == torch.float32


@torch.no_grad()
def test_bare_hourglasses_embed_and_say_that_they_cannot_convert(tmp_path: Path) -> None:
    encoder, _, state = official()
    torch.save({k.removeprefix("hg."): v for k, v in state.items() if k.startswith("hg.")}, tmp_path / "bare.pth")
    found = load_embedder(tmp_path / "bare.pth")
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(found.embed(images), encoder(images))
    with pytest.raises(ConfigError, match="0 converters"):
        found.convert(found.embed(images), 0)


VARIANTS: dict[str, dict[str, Any]] = {
    "dve": {"norm": "batch", "keep_size": False},
    "two_stacks": {"keep_size": False, "stacks": 2, "scaled_norm_output": True},
}


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(VARIANTS))
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_of_dve_are_read_whatever_else_they_hold(tmp_path: Path, name: str, prefix: str) -> None:
    encoder = HourglassEncoder(8, **SMALL, **VARIANTS[name])
    encoder(torch.rand(2, 3, 32, 32))  # so that the running statistics are not at their start
    encoder.eval()
    state = {f"{prefix}{k}": v for k, v in encoder.state_dict().items()}
    others = {"arch": "HourglassNet", "epoch": 45, "optimizer": {"state": {}}, "monitor_best": 0.1, "config": {"n": 1}}
    torch.save({**others, "state_dict": state}, tmp_path / "model.pth", _use_new_zipfile_serialization=False)
    found = load_embedder(tmp_path / "model.pth")
    images = torch.rand(1, 3, 64, 32)
    torch.testing.assert_close(found.embed(images), encoder(images).float())
    assert found.embed(images).shape == (1, 8, 32, 16)


BAD: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "missing": (lambda s: s.pop("hg.layer2.0.conv2.weight"), "no tensor 'hg.layer2.0.conv2.weight' ((16, 16, 3, 3) in"),
    "missing_first": (lambda s: s.pop("hg.conv1.weight"), "no tensor 'hg.conv1.weight' ((16, 3, 7, 7) in"),
    "missing_last": (
        lambda s: s.pop("hg.output_layers.0.5.weight"),
        "no tensor 'hg.output_layers.0.5.weight' ((8, 64, 1, 1) in",
    ),
    "shape": (
        lambda s: s.update({"hg.bn1.bias": torch.zeros(3)}),
        "'hg.bn1.bias' is (3,), HourglassEncoder expects (16,)",
    ),
    "size_of_a_stage": (
        lambda s: s.update({"hg.layer3.0.conv1.weight": torch.zeros(100_000, 1, 1, 1)}),
        "'hg.layer3.0.conv1.weight' is (100000, 1, 1, 1), HourglassEncoder expects (32, 32, 1, 1)",
    ),
    "extra": (lambda s: s.update({"hg.more": torch.zeros(3)}), "'hg.more' (3,) has no place"),
    "outside": (lambda s: s.update({"other.weight": torch.zeros(3)}), "'other.weight' has no place"),
    "half_a_converter": (
        lambda s: s.pop("transformer.interspecies2d1_layer3.weight"),
        "no tensor 'transformer.interspecies2d1_layer3.weight'",
    ),
    "no_first_converter": (
        lambda s: [s.pop(k) for k in list(s) if "2d0_" in k],
        "no tensor 'transformer.interspecies2d0_layer3.weight'",
    ),
    "wrong_converter": (
        lambda s: s.update({"transformer.interspecies2d1_layer1.weight": torch.zeros(65, 8, 7, 7)}),
        "'transformer.interspecies2d1_layer1.weight' is (65, 8, 7, 7), Converter expects (64, 8, 7, 7)",
    ),
    "many_converters": (
        lambda s: s.update({"transformer.interspecies2d1000000000_layer1.weight": torch.zeros(1)}),
        "'transformer.interspecies2d1000000000_layer1.weight' has no place",
    ),
    "more_blocks_than_tensors": (
        lambda s: s.update({"hg.hg.0.layer1_1.63.x": torch.zeros(1), "hg.hg.0.layer64_1.x": torch.zeros(1)}),
        "more blocks than it holds",
    ),
    "numbers": (
        lambda s: s.update({"hg.conv1.weight": torch.zeros(16, 3, 7, 7).long()}),
        "'hg.conv1.weight' is of torch.int64",
    ),
    "groups": (
        lambda s: s.update({k: torch.zeros(24, *v.shape[1:]) for k, v in s.items() if k in STEM}),
        "not all multiples of groups=16",
    ),
}
STEM = ("hg.conv1.weight", "hg.conv1.bias", "hg.bn1.weight", "hg.bn1.bias")


@pytest.mark.parametrize("name", sorted(BAD))
def test_the_first_wrong_tensor_is_named(tmp_path: Path, name: str) -> None:
    change, expected = BAD[name]
    _, _, state = official()
    change(state)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"x\.pth.*{re.escape(expected)}") as error:
        load_embedder(tmp_path / "x.pth")
    assert "\n" not in str(error.value)


def test_the_public_small_dife_gives_its_outputs(shared: Shared) -> None:
    found = load_embedder(shared(f"{GOLDEN}/dife_small.pth"))
    io, domains = (read_golden(shared(f"{GOLDEN}/io_dife_small{tail}.npz")) for tail in ("", "_domains"))
    embedding = found.embed(io["x"])
    torch.testing.assert_close(embedding[:1], io["embedding0"], atol=1e-3, rtol=0)
    for i in (0, 1):
        converted = found.convert(io["embedding0"], i)[:, :, ::2, ::2]
        torch.testing.assert_close(converted, domains[f"d{i}_px2"], atol=1e-3, rtol=0)


def test_the_public_small_dve_gives_its_output(shared: Shared) -> None:
    found = load_embedder(shared(f"{GOLDEN}/dve_small_bn.pth"))
    io = read_golden(shared(f"{GOLDEN}/io_dve_small.npz"))
    torch.testing.assert_close(found.embed(io["x"]), io["out0"], atol=2e-3, rtol=0)
