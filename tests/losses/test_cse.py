from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dife_lightning.losses.cse import embedding_loss, soft_embedding_loss

Shared = Callable[[str], Path]
SIGMAS = {"default_0.01": 0.01, "animals_0.1": 0.1}


def read(shared: Shared) -> dict[str, Tensor]:
    with np.load(shared("golden/cse_detectron2/io_embedding_losses.npz")) as content:
        return {key: torch.from_numpy(content[key]) for key in content}


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("name", SIGMAS)
def test_public_losses_and_gradients_are_reproduced(shared: Shared, kind: str, name: str) -> None:
    io = read(shared)
    pixels = io["pixel_embeddings"].requires_grad_()
    vertices = io["vertex_embeddings_raw"] / io["vertex_embeddings_raw"].norm(dim=1, keepdim=True)
    valid = io["valid"]
    arguments = (pixels[valid], vertices, io["vertex_ids"][valid])
    if kind == "hard":
        loss = embedding_loss(*arguments, SIGMAS[name])
    else:
        loss = soft_embedding_loss(*arguments, io["geodists"], SIGMAS[name], SIGMAS[name])
    loss.backward()
    torch.testing.assert_close(loss, io[f"{kind}.{name}"], rtol=1e-4, atol=0)
    expected = io[f"{kind}.{name}.grad"]
    assert (pixels.grad - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_two_vertices_have_the_closed_form() -> None:
    vertices = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    pixel = torch.tensor([[5.0, 0.0]])  # on vertex 0 once normalised: squared distances 0 and 4
    for vertex, expected in ((0, math.log1p(math.exp(-4 / 2))), (1, math.log1p(math.exp(-4 / 2)) + 2)):
        loss = embedding_loss(pixel, vertices, torch.tensor([vertex]), sigma=2.0)
        assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_soft_target_follows_the_distance_on_the_surface() -> None:
    vertices = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    pixel = torch.tensor([[5.0, 0.0]])
    geodesics = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    near = 1 / (1 + math.exp(-3 / 1.5))
    hard = math.log1p(math.exp(-2))
    loss = soft_embedding_loss(pixel, vertices, torch.tensor([0]), geodesics, sigma=2.0, geodesic_sigma=1.5)
    assert float(loss) == pytest.approx(near * hard + (1 - near) * (hard + 2), rel=1e-6)


def test_a_sharp_soft_target_is_the_hard_one() -> None:
    vertices = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    pixels, ids = torch.randn(5, 4), torch.tensor([0, 3, 5, 3, 1])
    geodesics = 1.0 - torch.eye(6)
    soft = soft_embedding_loss(pixels, vertices, ids, geodesics, sigma=0.3, geodesic_sigma=1e-3)
    torch.testing.assert_close(soft, embedding_loss(pixels, vertices, ids, sigma=0.3))


def test_no_click_costs_nothing() -> None:
    pixels = torch.zeros(0, 4, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    loss = embedding_loss(pixels, torch.eye(4), none) + soft_embedding_loss(pixels, torch.eye(4), none, torch.eye(4))
    loss.backward()
    assert loss.item() == 0
    assert pixels.grad is not None


def test_losses_are_float32_under_autocast() -> None:
    pixels, vertices, ids = torch.randn(3, 4), torch.eye(4), torch.tensor([0, 1, 2])
    expected = embedding_loss(pixels, vertices, ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = embedding_loss(pixels, vertices, ids)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
