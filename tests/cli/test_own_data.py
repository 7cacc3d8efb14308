"""``dife data preview`` of landmarks that only the user knows, and values of options as they are typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.cli.main import main
from dife_lightning.cli.options import parse_value


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (120, 100), (90, 90, 90)).save(folder / "a.png")
    # Three points at the left and one far at the right: their mean is not the middle of their extent.
    (folder / "points.csv").write_text("image,group,l1_x,l1_y,r1_x,r1_y,tip_x,tip_y,end_x,end_y\n"
                                       "a.png,no,20,40,20,60,20,50,100,50\n")  # fmt: skip
    return folder


@pytest.mark.parametrize(("text", "value"), [
    ("no", "no"), ("on", "on"), ("yes", "yes"), ("007", "007"), ("12:30", "12:30"), ("2024-05-01", "2024-05-01"),
    ("#3", "#3"), ("a: b", "a: b"), ("0x1f", "0x1f"), ("1_000", "1_000"), ("nan", "nan"), ("*", "*"),
    ("3", 3), ("-2", -2), ("1.5", 1.5), ("1e-3", 0.001), ("true", True), ("False", False), ("null", None),
    ("[a, no, 007, 3]", ["a", "no", "007", 3]), ("'3'", "3"),
])  # fmt: skip
def test_values_of_options_are_text_unless_they_are_plainly_something_else(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_a_group_called_no_is_a_group(root, capsys):
    assert main(["data", "preview", "folder", str(root), "--group", "no", "--out", "o.png"]) == 0
    assert "1 of 1 faces of folder, scheme own-4" in capsys.readouterr().out


def test_a_point_outside_the_crop_is_drawn_at_its_edge_and_said(root, capsys):
    assert main(["data", "preview", "folder", str(root), "--out", "o.png"]) == 0
    told = capsys.readouterr()
    assert "faces with points outside the crop, drawn at its edge: 1 (--factor enlarges the crop)" in told.out
    assert "mirror pairs: l1/r1" in told.err
    assert main(["data", "preview", "folder", str(root), "--factor", "2", "--out", "o.png"]) == 0
    assert "outside the crop" not in capsys.readouterr().out


def test_the_crop_is_placed_by_the_points_that_are_named(root, capsys):
    assert main(["data", "preview", "folder", str(root), "--landmarks", "l1,R1,tip", "--min-side", "20"]) == 0
    assert "crop: landmarks (l1,R1,tip) x 1.3" in capsys.readouterr().out
    assert np.asarray(Image.open("preview.png")).size
    assert main(["data", "preview", "folder", str(root), "--landmarks", "l1,tipp"]) == 1
    assert "has no point 'tipp'. Did you mean 'tip'" in capsys.readouterr().err


def test_a_scheme_file_says_whose_left_is_meant(root, capsys):
    Path("s.yaml").write_text("left: subject\nsame_as: {l1: left_eye, r1: right_eye, tip: nose}")
    assert main(["data", "preview", "folder", str(root), "--scheme", "s.yaml", "--factor", "9"]) == 0
    told = capsys.readouterr()
    assert "scheme s; crop: landmarks (3-point)" in told.out
    assert "left is taken as the face's own" in told.err
    assert main(["data", "preview", "folder", str(root), "--scheme", "t.yaml"]) != 0
    assert "no scheme file t.yaml" in capsys.readouterr().err
