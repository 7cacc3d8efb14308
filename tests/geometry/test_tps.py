from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import pixel_grid, sample_points, to_normalized
from dife_lightning.geometry.tps import (
    TPSOptions,
    draw_weights,
    interpolate,
    lattice,
    tps_basis,
    two_views,
    warp_origins,
    warped,
)

Shared = Callable[[str], Path]
SETTINGS = {"default": 0, "crop6": 6, "test_pair": 6}  # name -> crop


@pytest.fixture
def stored(shared: Shared) -> Callable[[str], Tensor]:
    arrays = np.load(shared("golden/dve_loss/tps.npz"))
    return lambda name: torch.from_numpy(arrays[name]).float()


def stored_weights(stored: Callable[[str], Tensor], setting: str) -> Tensor:
    return torch.stack((stored(f"{setting}.weights_first"), stored(f"{setting}.weights_second")))[None]


def some_weights(count: int = 2, **options: Any) -> Tensor:
    return torch.stack([draw_weights(TPSOptions(**options), 4, number) for number in range(count)])


def affine_weights(*rows: tuple[float, float]) -> Tensor:
    """Weights (1, 12, 2) of a warp that does not bend."""
    return torch.cat((torch.zeros(9, 2), torch.tensor(rows)))[None]


# The public code


def test_lattice_and_basis_are_the_public_codes(stored: Callable[[str], Tensor]) -> None:
    torch.testing.assert_close(lattice(5, 7), stored("tps_grid_5x7"), atol=1e-6, rtol=0)
    basis = tps_basis(lattice(4, 5), lattice(3, 3))
    torch.testing.assert_close(basis[:, :9], stored("tps_U"), atol=1e-5, rtol=0)
    basis = tps_basis(lattice(48, 48), lattice(10, 10))
    torch.testing.assert_close(basis[::97], stored("F_rows_every_97"), atol=1e-5, rtol=0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_its_weights_give_its_grid_and_flow(stored: Callable[[str], Tensor], setting: str) -> None:
    options = TPSOptions(crop=SETTINGS[setting])
    origins = two_views(stored("im")[None], stored_weights(stored, setting), options).origins
    side = origins.shape[1]
    grid = to_normalized(origins, side, side, align_corners=True)
    torch.testing.assert_close(grid, stored(f"{setting}.grid"), atol=1e-5, rtol=0)
    torch.testing.assert_close(origins - pixel_grid(side, side), stored(f"{setting}.flow"), atol=5e-5, rtol=0)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("align_corners", "suffix"), [(True, "_align_corners_true"), (False, "")])
def test_its_weights_give_its_images(
    stored: Callable[[str], Tensor], setting: str, align_corners: bool, suffix: str
) -> None:
    options = TPSOptions(crop=SETTINGS[setting], padding="zeros", align_corners=align_corners)
    views = two_views(stored("im")[None], stored_weights(stored, setting), options)
    torch.testing.assert_close(views.second[0], stored(f"{setting}.out0_im{suffix}"), atol=1e-4, rtol=0)
    torch.testing.assert_close(views.first[0], stored(f"{setting}.out1_im{suffix}"), atol=1e-4, rtol=0)


def test_a_single_warp_is_the_public_codes(stored: Callable[[str], Tensor]) -> None:
    origins = warp_origins(stored("single_crop6.weights")[None], 48, 48)
    image = warped(stored("im")[None], origins, TPSOptions(padding="zeros", align_corners=False))
    torch.testing.assert_close(image[0, :, 6:-6, 6:-6], stored("single_crop6.out_im"), atol=1e-4, rtol=0)


# What a warp is


def one_origin(weights: Tensor, control: int, x: int, y: int, width: int, height: int) -> tuple[float, float]:
    """The thin-plate spline at one pixel, in plain Python."""
    u, v = 2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1
    values = []
    for row in range(control):
        for column in range(control):
            squared = (u - (2 * column / (control - 1) - 1)) ** 2 + (v - (2 * row / (control - 1) - 1)) ** 2
            values.append(squared * math.log(squared + 1e-5))
    a, b = (sum(f * w for f, w in zip([*values, 1, u, v], weights[:, i].tolist(), strict=True)) for i in (0, 1))
    return (a + 1) / 2 * (width - 1), (b + 1) / 2 * (height - 1)


def test_origins_are_the_spline_written_as_loops() -> None:
    weights = some_weights(control=4, bend=0.01, strong_bend=0.05)[:, 1]
    found = warp_origins(weights, 5, 8)
    wanted = [[[one_origin(w, 4, x, y, 8, 5) for x in range(8)] for y in range(5)] for w in weights]
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-4, rtol=0)


def test_without_bend_and_affine_nothing_moves() -> None:
    image = torch.rand(1, 3, 6, 9)
    weights = affine_weights((0, 0), (1, 0), (0, 1))[:, None].expand(-1, 2, -1, -1)
    views = two_views(image, weights, TPSOptions())
    torch.testing.assert_close(views.second, image)
    torch.testing.assert_close(views.origins[0], pixel_grid(6, 9), atol=1e-5, rtol=0)


def test_a_shift_by_a_pixel_shows_the_pixel_beside() -> None:
    origins = warp_origins(affine_weights((2 / 8, -2 / 5), (1, 0), (0, 1)), 6, 9)  # pixels of 9 are 2/8 apart
    torch.testing.assert_close(origins[0], pixel_grid(6, 9) + torch.tensor([1.0, -1.0]), atol=1e-5, rtol=0)
    image = torch.rand(1, 1, 6, 9)
    torch.testing.assert_close(warped(image, origins, TPSOptions())[..., 1:, :-1], image[..., :-1, 1:])


def test_each_pixel_shows_what_was_at_its_origin() -> None:
    coordinates = pixel_grid(12, 16).permute(2, 0, 1)[None]  # an image that shows where it is
    origins = warp_origins(some_weights(1)[:, 1], 12, 16)
    inside = ((origins >= 0) & (origins <= torch.tensor([15, 11]))).all(-1)
    assert 0.5 < inside.float().mean() < 1
    shown = warped(coordinates, origins, TPSOptions()).permute(0, 2, 3, 1)
    torch.testing.assert_close(shown[inside], origins[inside], atol=1e-4, rtol=0)
    beside = warped(coordinates, origins, TPSOptions(align_corners=False)).permute(0, 2, 3, 1)
    off = (beside - origins)[inside].abs()
    assert 0.2 < off.max() < 0.75  # half a pixel at the edges, none in the middle


@pytest.mark.parametrize("crop", [0, 3])
def test_the_second_view_is_the_first_seen_at_the_origins(crop: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.rand(2, 3, 24, 28, generator=generator), 5, 1)
    views = two_views(images, some_weights(), TPSOptions(crop=crop))
    height, width = 20 - 2 * crop, 24 - 2 * crop
    assert views.first.shape == views.second.shape == (2, 3, height, width)
    inside = ((views.origins >= 0) & (views.origins <= torch.tensor([width - 1, height - 1]))).all(-1)
    assert inside.float().mean() > 0.4
    seen = sample_points(views.first, views.origins.flatten(1, 2), width, height).reshape(2, height, width, 3)
    torch.testing.assert_close(seen[inside], views.second.permute(0, 2, 3, 1)[inside], atol=1e-5, rtol=0)


# Drawing


def test_weights_are_a_function_of_seed_and_number_alone() -> None:
    before = torch.random.get_rng_state()
    one, again, other, third = (draw_weights(TPSOptions(), *key) for key in ((0, 3), (0, 3), (0, 4), (1, 3)))
    assert one.shape == (2, 103, 2)
    assert torch.equal(one, again)
    assert not torch.isclose(one, other).any()
    assert not torch.isclose(one, third).any()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_both_warps_have_the_strength_that_the_options_say() -> None:
    options = TPSOptions()
    drawn = torch.stack([draw_weights(options, 0, number) for number in range(400)])
    for view, bend in ((0, 0.5), (1, 1.0)):
        bends, shift, turned = drawn[:, view, :100], drawn[:, view, 100], drawn[:, view, 101]
        assert bends.std().item() == pytest.approx(bend * math.sqrt((0.001**2 + 0.01**2) / 2), rel=0.05)
        small = (bends.abs() < 3 * bend * 0.001).float().mean().item()  # all weak ones, and strong ones near 0
        assert small == pytest.approx((0.9973 + 0.2358) / 2, abs=0.01)
        assert shift.std().item() == pytest.approx(0.1, rel=0.1)
        assert turned.norm(dim=-1).std().item() == pytest.approx(0.1, rel=0.1)
        assert torch.rad2deg(torch.atan2(-turned[:, 1], turned[:, 0])).std().item() == pytest.approx(5, rel=0.1)
        torch.testing.assert_close(drawn[:, view, 102], torch.stack((-turned[:, 1], turned[:, 0]), -1))


def test_the_first_view_may_be_weaker() -> None:
    whole, half = (draw_weights(TPSOptions(first_bend=f, first_affine=f), 0, 0) for f in (1.0, 0.5))
    torch.testing.assert_close(half[0, :101], whole[0, :101] / 2)
    assert torch.equal(half[1], whole[1])


def test_float16_autocast_changes_no_origin() -> None:
    weights = some_weights()[:, 1]
    with torch.autocast("cpu", torch.bfloat16):
        found = warp_origins(weights, 9, 9)
    assert torch.equal(found, warp_origins(weights, 9, 9))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"control": 1}, r"warper\.control is 1; expected at least 2"),
        ({"bend": -0.1}, r"warper\.bend is -0\.1; expected at least 0"),
        ({"rotation": math.nan}, r"warper\.rotation is nan; expected a number"),
        ({"padding": "mirror"}, r"warper\.padding 'mirror' is unknown.*reflection"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        replace(TPSOptions(), **changes)


def test_a_crop_of_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="crop=4 leaves nothing of 12 x 8 px"):
        two_views(torch.rand(1, 3, 8, 12), some_weights(1), TPSOptions(crop=4))


# Interpolation


def test_interpolation_is_scipys_smoothed_thin_plate_spline() -> None:
    rng = np.random.default_rng(0)
    points, values, at = rng.uniform(-1, 1, (2, 7, 2)), rng.normal(size=(2, 7, 3)), rng.uniform(-1.5, 1.5, (40, 2))
    given = np.ones((2, 7), bool)
    given[1, [0, 4]] = False
    tensors = (torch.from_numpy(array).float() for array in (points, values))
    found, known = interpolate(*tensors, torch.from_numpy(given), torch.from_numpy(at).float(), smooth=0.04)
    assert known.tolist() == [True, True]
    for row in range(2):
        here = given[row]
        # its radial function is half of ours
        spline = RBFInterpolator(points[row, here], values[row, here], smoothing=0.02, kernel="thin_plate_spline")
        np.testing.assert_allclose(found[row].numpy(), spline(at), atol=2e-4)


def test_points_on_a_line_or_too_few_fix_no_spline() -> None:
    points = torch.tensor([[[-0.5, 0.0], [0.0, 0.01], [0.5, 0.0]], [[-0.5, 0.0], [0.0, 0.5], [0.5, 0.0]]])[[0, 1, 1]]
    given = torch.tensor([[True, True, True], [True, True, True], [True, True, False]])
    found, known = interpolate(points, torch.ones(3, 3, 2), given, torch.zeros(1, 2))
    assert known.tolist() == [False, True, False]
    assert found[known].squeeze().tolist() == pytest.approx([1, 1])
    assert not found[~known].any()
