"""Heat maps against the official evaluation, against loops, and against places that are exactly known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.schemes import flip_permutation
from dife_lightning.geometry.heatmaps import (
    DecodeOptions,
    decode,
    decode_cells,
    flip_average,
    gaussian_targets,
    mirror_maps,
    published_points,
)
from tests.nn.filled import read_golden

Shared = Callable[[str], Path]
GOLDEN = "golden/hrnet_meta_cskt/evaluation.npz"
RULES = ("quarter", "dark", "soft-argmax")
ALL = torch.ones(1, 1, dtype=torch.bool)


def blob(cells: Tensor, width: int, height: int, sigma: float) -> Tensor:
    """Return a Gaussian (1, K, height, width) around each of ``cells`` (K, 2), in double precision, by its formula."""
    y, x = np.indices((height, width))
    maps = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in cells.tolist()]
    return torch.tensor(np.stack(maps))[None]


def somewhere(count: int, low: float, high: tuple[float, float]) -> Tensor:
    """Return points (count, 2) from ``low`` to ``high`` in x and in y."""
    return low + torch.rand(count, 2) * (torch.tensor(high) - low)


def noisy(shape: tuple[int, int, int, int] = (3, 4, 11, 14)) -> Tensor:
    """Return maps with peaks everywhere, at corners and borders, two of them without any positive value."""
    maps = torch.randn(shape)
    maps[0, 0, 0, 0] = maps[0, 1, -1, -1] = maps[1, 0, 0, 5] = maps[1, 1, 7, 0] = maps[1, 2, 7, -1] = 5
    maps[2, 0] = -maps[2, 0].abs() - 0.1
    maps[2, 1] = 0
    return maps


# The official evaluation


def test_the_highest_cells_are_the_official_ones(shared: Shared) -> None:
    golden = read_golden(shared(GOLDEN))
    cells, scores = decode_cells(golden["heatmaps"])
    numbers = torch.where(scores[..., None] > 0, (cells + 0.3).floor() + 1, 0)  # 0.3 undoes a shift of a quarter
    torch.testing.assert_close(numbers, golden["get_preds"], atol=0, rtol=0)
    assert torch.equal(scores, golden["heatmaps"].amax(dim=(2, 3)))
    assert scores[3, 8] < 0


def test_published_points_are_the_official_ones(shared: Shared) -> None:
    golden = read_golden(shared(GOLDEN))
    points = published_points(golden["heatmaps"], golden["center"], 200 * golden["scale"])
    torch.testing.assert_close(points, golden["decode_preds"].double(), atol=0, rtol=0)


def test_published_points_are_the_numbers_of_the_pixels_that_hold_ours(shared: Shared) -> None:
    golden = read_golden(shared(GOLDEN))
    side = 200 * golden["scale"][:, None, None]
    found = decode(golden["heatmaps"], (255, 255))
    # from the centres of pixels of the crop of 255 px to places in the picture, counted from its edge
    exact = golden["center"][:, None] + ((found.points.double() + 0.5) / 255 - 0.5) * side
    right_of_edge = (found.scores > 0)[..., None] & (exact > 0)
    expected, exact = golden["decode_preds"][right_of_edge] - 1, exact[right_of_edge]
    assert len(exact) > 60
    assert ((expected <= exact + 1e-3) & (exact - 1e-3 < expected + 1)).all()


def test_published_targets_are_the_official_ones(shared: Shared) -> None:
    golden = read_golden(shared(GOLDEN))
    expected = golden["generate_target_sigma1_pts(10,20)(0,0)(62.9,3.2)(-2,5)(70,5)"]
    # whole numbers are the left edges of cells there, their middles here
    points = torch.tensor([[(10, 20), (0, 0), (62.9, 3.2), (-2, 5), (70, 5)]]) - 0.5
    maps, known = gaussian_targets(points, torch.ones(1, 5, dtype=torch.bool), (64, 64), (64, 64), published=True)
    torch.testing.assert_close(maps[0], expected, atol=1e-7, rtol=0)
    assert known.tolist() == [[True, True, True, False, False]]


# Targets


@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_targets_are_gaussians_around_the_exact_points(sigma: float) -> None:
    points = somewhere(6, -20, (120, 80)).reshape(2, 3, 2)
    visible = torch.tensor([[True, True, False], [True, True, True]])
    points[0, 2] = torch.nan
    maps, known = gaussian_targets(points, visible, (96, 60), (24, 20), sigma)
    cells = (points + 0.5) / torch.tensor([4.0, 3.0]) - 0.5
    for b, k in np.ndindex(2, 3):
        expected = blob(cells[b, k][None], 24, 20, sigma)[0, 0] if visible[b, k] else torch.zeros(20, 24)
        torch.testing.assert_close(maps[b, k], expected.float(), atol=1e-5, rtol=0)
        x, y = points[b, k].tolist()
        assert known[b, k] == (bool(visible[b, k]) and -0.5 <= x <= 95.5 and -0.5 <= y <= 59.5)


def test_published_targets_are_around_the_cell_that_holds_the_point_and_cut_off() -> None:
    points = torch.tensor([[(9.4, 21.6)]])  # 2.475 and 5.525 cells from the edges of the image
    maps, _ = gaussian_targets(points, ALL, (64, 64), (16, 16), 1.0, published=True)
    for y, x in np.ndindex(16, 16):
        near = abs(x - 2) <= 3 and abs(y - 5) <= 3
        expected = math.exp(-((x - 2) ** 2 + (y - 5) ** 2) / 2) if near else 0
        assert maps[0, 0, y, x].item() == pytest.approx(expected, abs=1e-6), (x, y)


# Decoding


def loop(maps: NDArray[np.float64], rule: str, sigma: float, temperature: float) -> tuple[float, float]:
    """Decode one map (h, w), by loops and by scipy's filter."""
    height, width = maps.shape
    y, x = (int(v) for v in np.unravel_index(np.argmax(maps), maps.shape))
    if maps[y, x] <= 0:
        return x, y
    inside_x, inside_y = 0 < x < width - 1, 0 < y < height - 1
    if rule == "quarter":
        if not (inside_x and inside_y):
            return x, y
        right, down = maps[y, x + 1] - maps[y, x - 1], maps[y + 1, x] - maps[y - 1, x]
        return x + 0.25 * np.sign(right), y + 0.25 * np.sign(down)
    if rule == "dark":
        smooth = np.log(np.maximum(gaussian_filter(maps, sigma, mode="constant", truncate=3), 1e-10))
        axes = [np.array(step) for step, inside in (((0, 1), inside_x), ((1, 0), inside_y)) if inside]

        def at(*steps: NDArray[np.int64]) -> float:
            return float(smooth[tuple(np.array((y, x)) + sum(steps, np.zeros(2, int)))])

        def second(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
            if a is b:
                return at(a) - 2 * at() + at(-a)
            return (at(a, b) - at(a, -b) - at(-a, b) + at(-a, -b)) / 4

        slope = np.array([(at(a) - at(-a)) / 2 for a in axes])
        bend = np.array([[second(a, b) for b in axes] for a in axes])
        if not axes or np.any(np.linalg.eigvalsh(bend) >= 0):
            return x, y
        moved = iter(np.clip(-np.linalg.solve(bend, slope), -1, 1))
        return x + (next(moved) if inside_x else 0), y + (next(moved) if inside_y else 0)
    total = across = down = 0.0
    for v, u in np.ndindex(height, width):
        if max(abs(u - x), abs(v - y)) <= math.ceil(3 * sigma):
            weight = max(float(maps[v, u]), 0.0) ** (1 / temperature)
            total, across, down = total + weight, across + weight * u, down + weight * v
    return across / total if inside_x else x, down / total if inside_y else y


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("sigma", "temperature"), [(1.0, 0.5), (1.5, 1.0)])
def test_decoding_is_that_of_a_loop_on_any_map(rule: str, sigma: float, temperature: float) -> None:
    maps = noisy()
    cells, scores = decode_cells(maps, DecodeOptions(rule, sigma, temperature))  # type: ignore[arg-type]
    for b, k in np.ndindex(3, 4):
        expected = loop(maps[b, k].double().numpy(), rule, sigma, temperature)
        assert cells[b, k].tolist() == pytest.approx(expected, abs=2e-3), (b, k)
        assert scores[b, k] == maps[b, k].max()


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
@pytest.mark.parametrize(("rule", "tolerance"), [("quarter", 0.2501), ("dark", 0.05), ("soft-argmax", 0.05)])
def test_a_blob_at_a_known_place_between_cells_is_found(rule: str, tolerance: float, sigma: float) -> None:
    cells = somewhere(300, 3 * sigma, (47 - 3 * sigma, 39 - 3 * sigma))
    maps = 0.7 * blob(cells, 48, 40, sigma)
    found, scores = decode_cells(maps, DecodeOptions(rule, sigma))  # type: ignore[arg-type]
    assert (found[0] - cells).abs().max() < tolerance
    assert (scores > 0.7 * math.exp(-0.25 / sigma**2)).all()
    assert (scores <= 0.7).all()


@pytest.mark.parametrize("rule", ["dark", "soft-argmax"])
def test_near_the_border_a_blob_is_off_by_at_most_006_cells(rule: str) -> None:
    cells = somewhere(300, 1, (2, 2))
    for places in (cells, torch.tensor([47, 39]) - cells):
        found, _ = decode_cells(blob(places, 48, 40, 1.0), DecodeOptions(rule))  # type: ignore[arg-type]
        assert (found[0] - places).abs().max() < 0.06


@pytest.mark.parametrize("rule", RULES)
def test_a_peak_in_a_corner_stays_there_and_one_in_a_border_row_in_its_row(rule: str) -> None:
    corners = torch.tensor([(0, 0), (15, 0), (0, 11), (15, 11)], dtype=torch.float32)
    options = DecodeOptions(rule)  # type: ignore[arg-type]
    assert torch.equal(decode_cells(blob(corners, 16, 12, 1.0), options)[0][0], corners)
    x, y = decode_cells(blob(torch.tensor([(6.3, 0.0)]), 16, 12, 1.0), options)[0][0, 0].tolist()
    assert y == 0
    assert x == pytest.approx(6 if rule == "quarter" else 6.3, abs=0.05)


@pytest.mark.parametrize("rule", RULES)
def test_maps_that_show_nothing_have_a_score_of_at_most_0_and_a_point_inside(rule: str) -> None:
    maps = torch.stack((torch.zeros(12, 16), -torch.rand(12, 16) - 0.1, torch.full((12, 16), -3.0)))[None]
    found = decode(maps, (64, 48), DecodeOptions(rule))  # type: ignore[arg-type]
    assert (found.scores <= 0).all()
    assert ((found.points > -0.5) & (found.points < torch.tensor([63.5, 47.5]))).all()


def test_cells_lie_where_those_of_a_resized_image_would() -> None:
    maps = torch.zeros(1, 3, 64, 64)
    maps[0, 0, 0, 0] = maps[0, 1, 63, 63] = maps[0, 2, 20, 10] = 1
    found = decode(maps, (256, 256)).points[0]
    assert found[:2].tolist() == [[1.5, 1.5], [253.5, 253.5]]
    # a single cell has equal neighbours, so it is not moved: cell 10 covers pixels 40 to 43, cell 20 80 to 83
    assert found[2].tolist() == [41.5, 81.5]
    # 255 px have cells of 255 / 64 = 3.984375 px
    found = decode(maps, (255, 255)).points[0]
    torch.testing.assert_close(found[:2], torch.tensor([[1.4921875] * 2, [252.5078125] * 2]))


@pytest.mark.parametrize("rule", ["dark", "soft-argmax"])
@pytest.mark.parametrize(("image", "cells"), [((255, 255), (64, 64)), ((96, 64), (24, 16)), ((250, 131), (63, 33))])
def test_points_return_from_their_targets(rule: str, image: tuple[int, int], cells: tuple[int, int]) -> None:
    points = somewhere(50, 12, (image[0] - 13, image[1] - 13))[None]
    maps, known = gaussian_targets(points, torch.ones(1, 50, dtype=torch.bool), image, cells)
    assert known.all()
    found = decode(maps, image, DecodeOptions(rule)).points  # type: ignore[arg-type]
    assert (found - points).abs().max() < 0.05 * 4


@pytest.mark.parametrize("rule", RULES)
def test_low_precision_and_autocast_change_nothing(rule: str) -> None:
    maps = noisy().bfloat16()
    options = DecodeOptions(rule)  # type: ignore[arg-type]
    exact = decode(maps.float(), (56, 44), options)
    with torch.autocast("cpu", torch.bfloat16):
        found = decode(maps, (56, 44), options)
    assert found.points.dtype == found.scores.dtype == torch.float32
    assert torch.equal(found.points, exact.points)
    assert torch.equal(found.scores, exact.scores)


# Mirrored images


@pytest.mark.parametrize(("width", "cells"), [(256, 64), (255, 64), (250, 63)])
def test_maps_of_the_mirrored_image_are_the_mirrored_maps(width: int, cells: int) -> None:
    order = flip_permutation(4, ((0, 3), (1, 2)))
    points = somewhere(4, 10, (width - 11, 90))[None]
    mirrored = torch.stack((width - 1 - points[..., 0], points[..., 1]), dim=-1)[:, order]
    visible = torch.ones(1, 4, dtype=torch.bool)
    maps, of_mirrored = (gaussian_targets(p, visible, (width, 100), (cells, 25))[0] for p in (points, mirrored))
    torch.testing.assert_close(mirror_maps(of_mirrored, order), maps, atol=1e-5, rtol=0)
    average = flip_average(maps, of_mirrored, order)
    torch.testing.assert_close(average, maps, atol=1e-5, rtol=0)
    found = decode(average, (width, 100), DecodeOptions("dark")).points
    assert (found - points).abs().max() < 0.05


@pytest.mark.parametrize("rule", RULES)
def test_points_of_mirrored_maps_are_the_mirrored_points(rule: str) -> None:
    options, order = DecodeOptions(rule), [1, 0, 2, 3]  # type: ignore[arg-type]
    maps = noisy((5, 4, 11, 14))[:2]
    points, scores = decode(maps, (56, 44), options)
    of_mirrored = decode(mirror_maps(maps, order), (56, 44), options)
    expected = torch.stack((55 - points[..., 0], points[..., 1]), dim=-1)[:, order]
    torch.testing.assert_close(of_mirrored.points, expected, atol=1e-2, rtol=0)
    assert torch.equal(of_mirrored.scores, scores[:, order])


# Mistakes


def test_mistakes_are_refused_in_one_line() -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: DecodeOptions("darker"), r"decode\.rule 'darker' is unknown\. Did you mean 'dark'"),  # type: ignore[arg-type]
        (lambda: DecodeOptions(sigma=0), r"decode\.sigma is 0"),
        (lambda: decode(torch.zeros(3, 8, 8), (8, 8)), r"heat maps of shape \(3, 8, 8\): expected \(B, K, h, w\)"),
        (lambda: gaussian_targets(torch.zeros(1, 2, 2), ALL, (8, 8), (8, 8)), r"points of shape \(1, 2, 2\)"),
        (lambda: gaussian_targets(torch.zeros(1, 1, 2), ALL, (8, 8), (8, 8), sigma=0), "sigma is 0"),
        (lambda: mirror_maps(torch.zeros(1, 3, 4, 4), [1, 0]), "an order of 2 points for 3 heat maps"),
    ]
    for mistake, words in cases:
        with pytest.raises(ConfigError, match=words) as error:
            mistake()
        assert "\n" not in str(error.value)
