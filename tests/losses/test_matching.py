from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import pixel_grid
from dife_lightning.losses.matching import cosine_similarity_map, expected_coordinates, semantic_matching_loss


def maps(batch: int = 2, channels: int = 6, height: int = 4, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, batch, channels, height, width, generator=generator)
    return first, second


def one_pixel(a: Tensor, b: Tensor, y: int, x: int, kind: str, tau: float, power: float) -> float:
    """Equations 4 and 5 for one source cell of (n, h, w) maps, with the options, in plain Python."""
    height, width = b.shape[1:]
    u = a[:, y, x].tolist()
    norm_u = math.hypot(*u)
    cosine = {}
    for yy in range(height):
        for xx in range(width):
            v = b[:, yy, xx].tolist()
            cosine[yy, xx] = sum(p * q for p, q in zip(u, v, strict=True)) / (norm_u * math.hypot(*v))
    if kind == "literal":
        px = sum(c * xx for (_, xx), c in cosine.items())
        py = sum(c * yy for (yy, _), c in cosine.items())
        return math.hypot(px - x, py - y)
    weights = {k: math.exp(c / tau) for k, c in cosine.items()}
    total = sum(weights.values())
    if kind == "dve":
        return sum(w / total * math.hypot(xx - x, yy - y) ** power for (yy, xx), w in weights.items())
    px = sum(w / total * xx for (_, xx), w in weights.items())
    py = sum(w / total * yy for (yy, _), w in weights.items())
    return math.hypot(px - x, py - y)


@pytest.mark.parametrize("kind", ["softmax", "dve", "literal"])
def test_equals_the_equation_written_as_loops(kind: str) -> None:
    a, b = maps()
    options = {"temperature": 0.2, "power": 0.5}
    slow = [
        one_pixel(a[n], b[n], y, x, kind, options["temperature"], 0.5)
        for n in range(2)
        for y in range(4)
        for x in range(5)
    ]
    fast = semantic_matching_loss(a, b, weights=kind, **options)  # type: ignore[arg-type]
    assert fast.item() == pytest.approx(sum(slow) / len(slow), rel=2e-4)
    summed = semantic_matching_loss(a, b, weights=kind, reduction="sum", **options)  # type: ignore[arg-type]
    assert summed.item() == pytest.approx(sum(slow) / 2, rel=2e-4)


def distinct(height: int = 6, width: int = 6) -> Tensor:
    """A map whose cells are all orthogonal to each other."""
    return torch.eye(height * width).reshape(1, -1, height, width)


def test_a_perfect_match_costs_nothing() -> None:
    assert semantic_matching_loss(distinct(), distinct()).item() == pytest.approx(0, abs=2e-3)


def test_a_match_that_is_off_by_two_cells_costs_two() -> None:
    shifted = torch.roll(distinct(), 2, dims=3)
    valid = torch.zeros(1, 6, 6, dtype=torch.bool)
    valid[:, :, :4] = True
    assert semantic_matching_loss(distinct(), shifted, valid=valid).item() == pytest.approx(2, rel=1e-3)


def test_a_stated_correspondence_replaces_the_identity() -> None:
    shifted = torch.roll(distinct(), 2, dims=3)
    truth = pixel_grid(6, 6)[None] + torch.tensor([2.0, 0.0])
    valid = torch.zeros(1, 6, 6, dtype=torch.bool)
    valid[:, :, :4] = True
    assert semantic_matching_loss(distinct(), shifted, truth, valid).item() == pytest.approx(0, abs=2e-3)


def test_the_literal_weights_do_not_predict_a_coordinate() -> None:
    smooth = F.avg_pool2d(torch.rand(1, 8, 20, 20, generator=torch.Generator().manual_seed(0)), 5, 1)
    assert semantic_matching_loss(smooth, smooth, weights="literal").item() > 100 * 16
    assert semantic_matching_loss(smooth, smooth, weights="softmax").item() < 16


def test_queries_choose_source_cells() -> None:
    a, b = maps()
    chosen = torch.tensor([3, 11])
    valid = torch.zeros(2, 20, dtype=torch.bool)
    valid[:, chosen] = True
    all_cells = semantic_matching_loss(a, b, valid=valid.reshape(2, 4, 5))
    assert semantic_matching_loss(a, b, queries=chosen).item() == pytest.approx(all_cells.item(), rel=1e-5)


def test_both_sides_get_a_finite_gradient_under_autocast() -> None:
    a, b = (m.requires_grad_() for m in maps())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = semantic_matching_loss(a.bfloat16(), b.bfloat16())
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(m.grad is not None and torch.isfinite(m.grad).all() and m.grad.abs().sum() > 0 for m in (a, b))


def test_cosine_does_not_depend_on_the_length_of_vectors() -> None:
    a, b = maps()
    vectors = a.flatten(2).transpose(1, 2)
    torch.testing.assert_close(cosine_similarity_map(7 * vectors, b), cosine_similarity_map(vectors, 0.1 * b))


@pytest.mark.parametrize(("options", "text"), [({"weights": "sofmax"}, "softmax"), ({"temperature": 0.0}, "above 0")])
def test_bad_options_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        semantic_matching_loss(*maps(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [2, 3, 8, 16])
def test_expected_coordinates_equal_the_plain_softmax(channels: int) -> None:
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(2, 7, channels, generator=generator).requires_grad_()
    target = torch.randn(2, channels, 5, 6, generator=generator).requires_grad_()
    found = expected_coordinates(source, target, 0.1)
    probability = (cosine_similarity_map(source, target) / 0.1).softmax(dim=-1)
    wanted = probability @ torch.tensor([[x, y] for y in range(5) for x in range(6)], dtype=torch.float32)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(value.square().sum(), (source, target)) for value in (found, wanted)]
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)
