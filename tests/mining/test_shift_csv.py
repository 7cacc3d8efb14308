from __future__ import annotations

import csv

import numpy as np
import pytest

from dife_lightning.errors import DataError, MissingDataError
from dife_lightning.mining.shift_csv import read_shifts, write_shifts


def test_what_is_written_is_read_exactly_and_has_the_published_form(tmp_path):
    values = np.random.default_rng(0).gamma(2, 0.1, 50).tolist()
    shifts = {f"face_{i}.jpg": value for i, value in enumerate(values)} | {'a "b", c.png': 0.0, " é.jpg": 1e-300}
    write_shifts(tmp_path / "shifts.csv", shifts)
    assert list(read_shifts(tmp_path / "shifts.csv").items()) == list(shifts.items())
    with open(tmp_path / "shifts.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["img", "nme"]
    assert rows[1] == ["face_0.jpg", str(values[0])]


@pytest.mark.parametrize("start", ["img,nme\n", "", "\ufeffimg,nme\r\n", "IMG, NME\n", "\n\nimg,nme\n"])
def test_the_header_may_be_missing_and_lines_may_end_as_on_windows(tmp_path, start):
    file = tmp_path / "shifts.csv"
    file.write_bytes(f"{start}a.jpg,0.25\r\nb.jpg, 1e-1\n\n".encode())
    assert read_shifts(file) == {"a.jpg": 0.25, "b.jpg": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("img,nme\na,0.1\nb\n", "line 3: 'b' found; expected img,nme: a name and a number"),
        ("img,nme\na,0.1,7\n", "line 2: 'a,0.1,7' found"),
        ("a,0.1\nb,much\n", "line 2: 'b,much' found"),
        ("name,shift\na,0.1\n", "line 1: 'name,shift' found"),
        ("a,0.1\nimg,nme\n", "line 2: 'img,nme' found"),
        ("a,nan\n", "line 1: face 'a' with shift nan; expected a name and 0 or more"),
        ("a,inf\n", "line 1: face 'a' with shift inf"),
        ("a,-0.1\n", "line 1: face 'a' with shift -0.1"),
        (" ,0.1\n", "line 1: face ' ' with shift 0.1"),
        ("img,nme\n\na,0.1\nb,0.2\na,0.1\n", r"line 5: 'a' for the second time \(first: line 3\)"),
        ('a,0.1\n"b,0.2\n', "cannot be read as a table"),
        ("img,nme\n", "holds no face; expected lines img,nme"),
        ("", "holds no face"),
        ("\x1b[31m,x\n", "line 1: '.\\[31m,x' found"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    file = tmp_path / "shifts.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as raised:
        read_shifts(file)
    assert str(raised.value).isprintable()


def test_files_that_are_missing_or_no_text_are_one_line(tmp_path):
    with pytest.raises(MissingDataError, match="no shifts at"):
        read_shifts(tmp_path / "nothing.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_shifts(tmp_path / "picture.csv")
    (tmp_path / "endless.csv").write_text("a" * 200_000 + ",0.1")
    with pytest.raises(DataError, match="cannot be read as a table") as raised:
        read_shifts(tmp_path / "endless.csv")
    assert len(str(raised.value)) < 400


def test_a_shift_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(DataError, match="face 'b' has the shift nan"):
        write_shifts(tmp_path / "shifts.csv", {"a": 0.1, "b": float("nan")})
    assert list(tmp_path.iterdir()) == []
