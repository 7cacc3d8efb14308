"""A surface teacher that is constant, or knows only a mask, is told from one that embeds a surface."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dife_lightning.methods.dife import DIFE
from dife_lightning.pretrained import load_embedder, load_generator
from dife_lightning.pretrained.embedders import Embedder
from dife_lightning.pretrained.variation import LIMIT, near_constant, teacher_variation, variation
from tests.tiny import dife_arguments


class Painter(nn.Module):
    """A teacher of 8 channels that ignores the image: constant, a soft disc, or a place on a sphere."""

    dim = 8

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.unused = kind, nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, images.shape[-1])
        y, x = torch.meshgrid(ramp, ramp, indexing="ij")
        disc = torch.sigmoid((0.7 - (x * x + y * y).sqrt()) / 0.1)
        plain = torch.ones_like(x)
        channels = {
            "constant": [plain],
            "zero": [0 * plain],
            "nan": [math.nan * plain],
            "mask": [1 - disc, disc],
            "surface": [plain, x, y],
            "surface on a background": [1 - disc, disc * x, disc * y, disc],
        }[self.kind]
        empty = [torch.zeros_like(x)] * (8 - len(channels))
        return torch.stack([*channels, *empty]).expand(len(images), -1, -1, -1)


def painted(kind: str, noise: float = 0.0) -> Tensor:
    maps = Painter(kind)(torch.zeros(2, 3, 64, 64))
    return maps + noise * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))


def test_the_third_direction_of_known_vectors():
    axes = torch.eye(4)  # four unit vectors, equally often: three equal directions with variance 1/4 each
    assert variation(axes.reshape(1, 4, 2, 2)) == pytest.approx(0.5)
    assert variation(3 * axes.reshape(1, 4, 2, 2)) == pytest.approx(0.5), "the length does not count"


@pytest.mark.parametrize(
    ("kind", "noise"),
    [("constant", 0.0), ("constant", 0.02), ("mask", 0.0), ("mask", 0.02), ("zero", 0.0), ("nan", 0.0)],
)
def test_constant_and_mask_only_embeddings_are_below_the_limit(kind, noise):
    assert variation(painted(kind, noise)) < LIMIT


@pytest.mark.parametrize("kind", ["surface", "surface on a background"])
def test_an_embedding_of_a_surface_is_above_the_limit(kind):
    assert variation(painted(kind)) > 1.5 * LIMIT


@pytest.mark.parametrize("domain", ["human", "dog", "cat"])
def test_the_shipped_teacher_is_far_above_the_limit(domain):
    teacher, generator = load_embedder("world/teacher"), load_generator(f"world/{domain}")
    assert 0.15 < teacher_variation(teacher, generator, domain, 64, 0.7, 0) < 0.25


def test_the_line_names_the_domains_and_what_to_type():
    assert near_constant("own/cse", {"human": 0.2, "dog": 0.1}) is None
    line = near_constant("own/cse", {"human": 0.2, "dog": 0.0123}) or ""
    assert "own/cse" in line
    assert "dog 0.012; expected at least 0.05" in line
    assert "human" not in line
    assert "model.init_args.teacher" in line


@pytest.mark.parametrize("kind", ["constant", "mask"])
def test_a_training_warns_of_it_at_its_start(kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arguments: dict[str, Any] = dife_arguments(tmp_path)
    monkeypatch.setattr("dife_lightning.methods.dife.load_embedder", lambda name: Embedder(Painter(kind), name))
    with pytest.warns(UserWarning, match=r"hardly varies over an image \(variation human 0\.0\d+, dog 0\.0\d+; "):
        DIFE(**arguments).setup("fit")
