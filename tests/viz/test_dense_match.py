from __future__ import annotations

import colorsys

import numpy as np
import pytest

from dife_lightning.viz.colors import place_colors
from dife_lightning.viz.dense_match import FOOT, GAP, HEAD, MARGIN, PANEL, match_sheet


def test_colours_are_hues_by_column_that_darken_downwards():
    places = np.random.default_rng(0).random((20, 2))
    expected = [colorsys.hsv_to_rgb(0.8 * x, 0.9, 1 - 0.6 * y) for x, y in places]
    np.testing.assert_allclose(place_colors(places), expected, atol=1e-5)
    assert place_colors(np.zeros((0, 2))).shape == (0, 3)


@pytest.mark.parametrize("side", [56, 97])
def test_a_place_has_one_colour_in_both_faces_where_it_was_found(side):
    """Of 14 x 14 cells, those of the left half are matched, each with the place half a face further right."""
    y, x = np.indices((14, 14))
    cell = side / 14
    places = np.stack(((x + 0.5) * cell - 0.5 + side / 2, (y + 0.5) * cell - 0.5), axis=-1).astype(np.float32)
    grey = np.full((side, side, 3), 90, np.uint8)
    sheet = match_sheet((grey, grey), places, x < 7, "a note")
    assert sheet.shape == (HEAD + PANEL + FOOT, 2 * MARGIN + 4 * PANEL + 3 * GAP, 3)

    def dot(panel: int, column: float, row: float) -> np.ndarray:
        at = (np.array([column, row]) + 0.5) * PANEL / 14
        return sheet[HEAD + round(at[1]), MARGIN + panel * (PANEL + GAP) + round(at[0])]

    for column, row in ((0, 0), (3, 6), (6, 12)):
        color = np.round(255 * place_colors(np.array([[column / 14, row / 14]]))[0])
        np.testing.assert_allclose(dot(0, column, row), color, atol=2)
        np.testing.assert_allclose(dot(1, column + 7, row), color, atol=2)
        assert (dot(0, column + 7, row) == 90).all()  # not matched
    line = (90 + 2 * np.round(255 * place_colors(np.array([[5 / 14, 7 / 14]]))[0])) / 3
    np.testing.assert_allclose(dot(0, 8.5, 7), line, atol=2)  # from (5, 7) of the first face to (12, 7) of the second


def test_what_is_matched_is_warped_and_the_rest_is_grey():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 100, (2, PANEL, PANEL, 3), dtype=np.uint8)
    y, x = np.indices((PANEL, PANEL))
    mirrored = np.stack((PANEL - 1 - x, y), axis=-1).astype(np.float32)
    matched = np.broadcast_to(y[:, :1] < PANEL // 2, (PANEL, PANEL))
    sheet = match_sheet((first, second), mirrored, matched)[HEAD : HEAD + PANEL]
    panels = [sheet[:, MARGIN + k * (PANEL + GAP) :][:, :PANEL] for k in range(4)]
    expected = np.where(matched[..., None], second[:, ::-1], 160)
    np.testing.assert_array_equal(panels[2], expected)
    checker = ((y * 8 // PANEL + x * 8 // PANEL) % 2 == 0)[..., None]
    np.testing.assert_array_equal(panels[3], np.where(checker, first, expected))
