"""The picture of the world for people to look at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world.contact_sheet import contact_sheet, main, uv_colors
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


def test_the_command_writes_a_png_with_its_folder(tmp_path, capsys):
    target = tmp_path / "new" / "sheet.png"
    assert main([str(target), "--species", "fox", "--columns", "2", "--size", "32", "--framing", "jittered"]) == 0
    assert cv2.imread(str(target)).shape == (64, 64, 3)
    assert "64 x 64" in capsys.readouterr().out


def test_the_command_reports_what_is_wrong_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "a.png"), "--species", "foxx"]) == 1
    assert "Did you mean 'fox'?" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    arguments = ["--species", "fox", "--columns", "1", "--size", "16"]
    assert main([str(tmp_path / "file" / "a.png"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_sheet_without_columns_is_refused():
    with pytest.raises(ConfigError, match="1 column or more, found 0"):
        contact_sheet(columns=0)
