from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dife_lightning.losses.dense_truth import draw_pixels, surface_code_loss, true_partners
from dife_lightning.nn.surface import surface_code


def coordinates(batch: int = 2, height: int = 5, width: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    uv = torch.rand(batch, height, width, 2, generator=generator) * 2 - 1
    return uv, torch.rand(batch, height, width, generator=generator) < 0.7


def test_the_code_loss_is_the_mean_over_known_pixels_written_as_loops() -> None:
    uv, inside = coordinates()
    embedding = torch.randn(2, 8, 5, 6, generator=torch.Generator().manual_seed(1))
    slow = []
    for b, y, x in inside.nonzero().tolist():
        vector, code = embedding[b, :, y, x].tolist(), surface_code(uv[b, y, x], 8, 0.7).tolist()
        length = math.hypot(*vector)
        slow.append(sum((v / length - c) ** 2 for v, c in zip(vector, code, strict=True)))
    found = surface_code_loss(embedding, uv, inside, 0.7)
    assert found.item() == pytest.approx(sum(slow) / len(slow), rel=1e-5)


def test_the_code_loss_of_the_code_itself_is_0_and_of_its_opposite_4() -> None:
    uv, inside = coordinates()
    code = surface_code(uv, 8, 0.7).permute(0, 3, 1, 2)
    assert surface_code_loss(3 * code, uv, inside, 0.7).item() == pytest.approx(0, abs=1e-10)
    assert surface_code_loss(-code, uv, inside, 0.7).item() == pytest.approx(4, rel=1e-5)
    assert surface_code_loss(-code, uv, torch.zeros_like(inside), 0.7).item() == 0  # no face is no error


def test_pixels_outside_the_face_get_no_gradient_from_the_code() -> None:
    uv, inside = coordinates()
    embedding = torch.randn(2, 8, 5, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    surface_code_loss(embedding, uv, inside, 0.7).backward()
    assert embedding.grad is not None
    assert torch.equal(embedding.grad.abs().sum(1) > 0, inside)


def test_partners_are_those_of_a_search_pixel_by_pixel() -> None:
    (uv, _), (target_uv, inside) = coordinates(), coordinates(2, 7, 4)
    queries = uv.flatten(1, 2)[:, :9]
    found, near = true_partners(queries, target_uv, inside, tolerance=0.3)
    for b in range(2):
        for q in range(9):
            distances = {
                (x, y): math.dist(queries[b, q].tolist(), target_uv[b, y, x].tolist())
                for y, x in inside[b].nonzero().tolist()
            }
            best = min(distances, key=lambda place: distances[place])
            assert tuple(found[b, q].tolist()) == best
            assert bool(near[b, q]) == (distances[best] <= 0.3)
    assert near.any()
    assert not near.all()


def test_an_image_without_a_face_has_no_partners_and_no_pixels_to_draw() -> None:
    uv, inside = coordinates()
    inside[1] = False
    _, near = true_partners(uv.flatten(1, 2), uv, inside, tolerance=9.0)
    assert near[0].all()
    assert not near[1].any()
    pixels, drawn = draw_pixels(inside, torch.full((2, 3), 0.5))
    assert drawn.tolist() == [[True] * 3, [False] * 3]
    assert pixels[1].tolist() == [pixels[1, 0]] * 3


def test_every_pixel_of_a_face_is_drawn_equally_often_and_no_other() -> None:
    _, inside = coordinates()
    numbers = (torch.arange(3000) + 0.5).expand(2, -1) / 3000
    pixels, _ = draw_pixels(inside, numbers)
    for row in range(2):
        drawn, counts = torch.unique(pixels[row], return_counts=True)
        assert torch.equal(drawn, inside[row].flatten().nonzero()[:, 0])
        assert counts.max() - counts.min() <= 1
    last, _ = draw_pixels(inside, torch.full((2, 1), 1 - 2**-24))
    assert last[:, 0].tolist() == [int(mask.flatten().nonzero()[-1]) for mask in inside]
