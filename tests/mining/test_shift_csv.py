from __future__ import annotations

import csv

import numpy as np
import pytest

from dife_lightning.errors import DataError, MissingDataError
from dife_lightning.mining.shift_csv import match_shifts, read_shifts, write_shifts
from dife_lightning.mining.split import mine


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


#: Rows in the published form; no name has a folder but those of the horses' crops.
FLIP = """img,nme
koala_1.jpg,0.3125
koala_10.jpg,0.0625
lion_2.jpg,0.2
yak_7.jpg,0.19999
horse/im/flickr-horses/203.jpg,0.03125
"""
HUMAN = """img,nme
koala_1.jpg,0.01
koala_10.jpg,0.04999
lion_2.jpg,0.001
yak_7.jpg,0.05
horse/im/flickr-horses/203.jpg,0.25
"""


def published(folder):
    for name, text in (("flip", FLIP), ("human", HUMAN)):
        (folder / f"{name}.csv").write_bytes(text.encode())
    return tuple(read_shifts(folder / f"{name}.csv") for name in ("flip", "human"))


def test_published_rows_are_found_for_faces_named_by_domain_and_sorted_by_the_published_rules(tmp_path, capsys):
    flip, human = published(tmp_path)
    names = [f"animalweb/{name}" for name in ("yak_7.jpg", "koala_10.jpg", "lion_2.jpg", "koala_1.jpg")]
    mined = mine(names, flip, human, t_neg=0.2, t_pos=0.05)
    assert mined.hard_negatives == ("animalweb/lion_2.jpg", "animalweb/koala_1.jpg")  # 0.2 and above
    assert mined.positives == ("animalweb/koala_10.jpg",)  # below 0.05, and not dropped
    assert mined.semi_hard == ("animalweb/yak_7.jpg",)
    told = capsys.readouterr().err
    assert "note: flip shifts: 4 of 4 faces found by name, 0 not; 1 of 5 rows are of other faces\n" in told
    assert told.count("shifts:") == 2


def test_faces_without_a_row_are_counted_and_refused(tmp_path, capsys):
    flip, human = published(tmp_path)
    names = ["animalweb/koala_1.jpg", "animalweb/koala_2.jpg", "animalweb/yak_7.jpg"]
    assert match_shifts(names, flip) == {"animalweb/koala_1.jpg": 0.3125, "animalweb/yak_7.jpg": 0.19999}
    assert "2 of 3 faces found by name, 1 not (animalweb/koala_2.jpg); 3 of 5 rows" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"1 unlabelled face of 3 without flip shift: animalweb/koala_2\.jpg"):
        mine(names, flip, human)


@pytest.mark.parametrize(("name", "row"), [
    ("aw/koala_1.jpg", "koala_1"),
    ("koala_1", "koala_1.jpg"),
    ("koala_1.PNG", "koala_1.jpg"),
    ("horses/horse/im/203.jpg", "horse/im/203.jpg"),
    ("horses/im/203.jpg", "im\\203.jpg"),
    ("203.jpg", "horse/im/203.jpg"),
])  # fmt: skip
def test_folders_and_suffixes_may_differ(name, row):
    assert match_shifts([name], {row: 0.5, "other.jpg": 0.1}) == {name: 0.5}


@pytest.mark.parametrize(("names", "rows"), [
    (["a/1.jpg"], ["b/1.jpg"]),  # another folder
    (["1.jpg"], ["a/1.jpg", "b/1.jpg"]),  # two rows may be the face
    (["a/1.jpg", "b/1.jpg"], ["1.jpg"]),  # two faces may be the row's
    (["koala_1.jpg"], ["Koala_1.jpg", "koala_11.jpg", "xkoala_1.jpg"]),
    (["a/1.v2"], ["a/1.v3"]),
])  # fmt: skip
def test_nothing_is_guessed_among_several_or_other_names(names, rows):
    assert match_shifts(names, dict.fromkeys(rows, 0.5)) == {}


def test_an_equal_name_comes_first_and_equal_names_need_no_note(capsys):
    assert match_shifts(["1.jpg", "a/1.jpg"], {"a/1.jpg": 0.1, "1.jpg": 0.2}) == {"1.jpg": 0.2, "a/1.jpg": 0.1}
    assert capsys.readouterr().err == ""


def test_a_file_may_be_named_in_paths_yaml(tmp_path, monkeypatch):
    published(tmp_path)
    (tmp_path / "paths.yaml").write_text("meta-cskt: .\n")
    monkeypatch.setenv("DIFE_PATHS", str(tmp_path / "paths.yaml"))
    assert read_shifts("own/meta-cskt/flip.csv")["lion_2.jpg"] == 0.2
