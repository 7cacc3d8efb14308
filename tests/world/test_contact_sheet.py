"""The picture of the world for people to look at."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world.contact_sheet import contact_sheet, uv_colors
from tests.world.samples import sample


def test_a_sheet_shows_renders_above_their_truth():
    sheet = contact_sheet(["dog", "cat"], columns=3, size=64, start=1)
    assert (sheet.shape, sheet.dtype) == ((4 * 64, 3 * 64, 3), np.uint8)
    np.testing.assert_array_equal(sheet[:64, 64:128], sample("dog", 2).image)
    np.testing.assert_array_equal(sheet[128:192, :64], sample("cat", 1).image)


def test_canonical_coordinates_are_coloured_on_the_face_and_grey_off_it():
    one = sample("dog", 2)
    colors = uv_colors(one.uv)
    assert np.all(colors[~one.mask] == 24)
    left, right = one.mask & (one.uv[..., 0] < -0.3), one.mask & (one.uv[..., 0] > 0.3)
    assert colors[left, 0].mean() + 60 < colors[right, 0].mean()


def test_a_sheet_without_columns_is_refused():
    with pytest.raises(ConfigError, match="columns is 0; expected at least 1"):
        contact_sheet(columns=0)
