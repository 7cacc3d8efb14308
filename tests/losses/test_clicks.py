"""Losses at clicks and between them, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from dife_lightning.faces.batches import ClickBatch
from dife_lightning.losses.clicks import LARGEST, between_clicks, between_clicks_loss, click_loss
from dife_lightning.nn.surface import surface_code


def a_batch() -> ClickBatch:
    """Two faces of 8 px whose coordinates grow linearly: u is 0 at x = 3.5 and 0.1 per pixel, v is 0.1 (y - 2)."""
    points = torch.tensor([[1.0, 2.0], [6.0, 2.0], [3.0, 6.0], [0.0, 0.0]]).repeat(2, 1, 1)
    uv = torch.stack((0.1 * (points[..., 0] - 3.5), 0.1 * (points[..., 1] - 2)), dim=-1)
    uv[:, 3] = 7.0  # not clicked, so that it must not count
    inside = torch.tensor([[True, True, True, False], [True, True, False, False]])
    return ClickBatch(torch.zeros(2, 3, 8, 8), points, uv, inside)


def linear_codes() -> torch.Tensor:
    x, y = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="xy")
    return surface_code(torch.stack((0.1 * (x - 3.5), 0.1 * (y - 2)), dim=-1), 4, 0.5).permute(2, 0, 1)


def test_coordinates_between_clicks_go_on_linearly_where_the_clicks_are_linear():
    batch = a_batch()
    uv, inside = between_clicks(batch, 8)
    for x, y in ((1, 2), (3, 4), (5, 3), (4, 6)):
        assert uv[0, y, x].tolist() == pytest.approx([0.1 * (x - 3.5), 0.1 * (y - 2)], abs=1e-4)
        assert inside[0, y, x]
    # the centre of the three clicks is (10/3, 10/3); the furthest, (6, 2), is 2.98 px away, and 1.5 times that is 4.47
    for x in range(8):
        for y in range(8):
            assert bool(inside[0, y, x]) == (math.hypot(x - 10 / 3, y - 10 / 3) <= 1.5 * math.hypot(8 / 3, 4 / 3))
    assert not inside[1].any(), "two clicks fix no coordinates"
    uv, inside = between_clicks(batch, 4)  # a cell is 2 px: the first ones have their centres at 0.5, 2.5, ...
    assert uv[0, 2, 1].tolist() == pytest.approx([0.1 * (2.5 - 3.5), 0.1 * (4.5 - 2)], abs=1e-4)


def test_coordinates_beyond_the_face_do_not_count():
    batch = a_batch()
    batch.uv = batch.uv * 4
    uv, inside = between_clicks(batch, 8)
    assert uv[0][inside[0]].abs().max() <= LARGEST
    assert inside[0, 3, 3]
    assert not inside[0, 6, 5], "v is 1.6 there"


def test_true_codes_have_no_loss_and_others_their_squared_distance():
    batch, codes = a_batch(), linear_codes()[None].repeat(2, 1, 1, 1)
    for loss in (click_loss, between_clicks_loss):
        assert loss(3 * codes, batch, 0.5).item() == pytest.approx(0, abs=1e-6)
        assert loss(-codes, batch, 0.5).item() == pytest.approx(4, abs=1e-5)
    moved = codes.clone()
    moved[0, :, 2, 1] *= -1  # one of five clicks
    assert click_loss(moved, batch, 0.5).item() == pytest.approx(4 / 5, abs=1e-5)
    batch.inside[:] = False
    assert click_loss(codes, batch, 0.5).item() == 0
    assert between_clicks_loss(codes, batch, 0.5).item() == 0
