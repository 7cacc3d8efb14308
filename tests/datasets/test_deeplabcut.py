"""The reader of DeepLabCut on small files typed by hand, as the tool writes them."""

from __future__ import annotations

import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.errors import DataError
from tests.datasets.labelled import faces_of, notes_of, put

ONE = "scorer,me,me,me,me\nbodyparts,nose,nose,ear,ear\ncoords,x,y,x,y\n"


def test_deeplabcut_in_its_older_form_with_missing_points(root):
    put(root / "CollectedData_me.csv", ONE + "a.png,1.5,2,,\nb.png,NaN,nan,3,4\n")
    assert faces_of(load_dataset("deeplabcut", root)) == [("a.png", {"nose": [1.5, 2]}), ("b.png", {"ear": [3, 4]})]


def test_deeplabcut_with_the_path_in_three_columns(root):
    Image.new("RGB", (50, 40)).save(root / "c.png")
    folder = root / "labeled-data/video"
    folder.mkdir(parents=True)
    (root / "c.png").rename(folder / "c.png")
    text = "scorer,,,me,me\nbodyparts,,,nose,nose\ncoords,,,x,y\nlabeled-data,video,c.png,5,6\n"
    put(folder / "CollectedData_me.csv", text)
    assert faces_of(load_dataset("deeplabcut", root)) == [("labeled-data/video/c.png", {"nose": [5, 6]})]
    assert load_dataset("deeplabcut", folder).annotations[0].image == folder / "c.png"


def test_deeplabcut_with_several_animals_and_unique_body_parts(root):
    header = "scorer,me,me,me,me,me,me\nindividuals,m1,m1,m2,m2,single,single\n"
    header += "bodyparts,nose,nose,nose,nose,corner,corner\ncoords,x,y,x,y,x,y\n"
    put(root / "CollectedData_me.csv", header + "a.png,1,2,3,4,5,6\nb.png,,,7,8,,\n")
    assert faces_of(load_dataset("deeplabcut", root)) == [
        ("a.png#m1", {"nose": [1, 2]}), ("a.png#m2", {"nose": [3, 4]}), ("a.png#single", {"corner": [5, 6]}),
        ("b.png", {"nose": [7, 8]}),
    ]  # fmt: skip


def test_deeplabcut_body_parts_go_into_a_built_in_scheme_by_name(root):
    parts = ["MouthRight", "mouth_left", "nose", "eye_l", "right-eye"]
    header = ["scorer," + ",".join(["me"] * 10), "bodyparts," + ",".join(p for p in parts for _ in "xy"),
              "coords," + ",".join(["x", "y"] * 5)]  # fmt: skip
    put(root / "CollectedData_me.csv", "\n".join([*header, "a.png,1,2,3,4,5,6,7,8,9,10"]))
    dataset = load_dataset("deeplabcut", root, scheme="mafl-5")
    assert dataset.annotations[0].points.tolist() == [[7, 8], [9, 10], [5, 6], [3, 4], [1, 2]]
    put(root / "CollectedData_me.csv", ONE + "a.png,1,2,3,4\n")
    with pytest.raises(DataError, match="has 2 points, scheme 'mafl-5' has 5"):
        load_dataset("deeplabcut", root, scheme="mafl-5")


@pytest.mark.parametrize(("text", "words"), [
    ("image,x0,y0\na.png,1,2\n", "no header of DeepLabCut; expected rows that start with scorer"),
    (ONE.replace("coords,x,y,x,y", "coords,x,y,x,z") + "a.png,1,2,3,4\n", "expected x and y of each body part"),
    (ONE + "a.png,1,2,3\n", "row 4: 4 cells, expected 5"),
    (ONE + "a.png,1,,3,4\n", r"row 4: body part 'nose' is \(1, \), expected two numbers or two empty cells"),
    (ONE + "a.png,one,2,3,4\n", "row 4: body part 'nose': 'one' found"),
    (ONE + "0,1,2,3,4\n", "row 4: '0' is the number of a video's frame"),
    (ONE, "no usable faces"),
])  # fmt: skip
def test_deeplabcut_says_what_is_wrong(root, text, words):
    put(root / "CollectedData_me.csv", text)
    with pytest.raises(DataError, match=words):
        load_dataset("deeplabcut", root)


def test_deeplabcut_predictions_are_taken_and_said(root, capsys):
    put(root / "CollectedData_x.csv", "scorer,n,n,n\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\na.png,1,2,0.1\n")
    assert faces_of(load_dataset("deeplabcut", root)) == [("a.png", {"nose": [1, 2]})]
    (said,) = notes_of(capsys)
    assert said.startswith("predictions (with a likelihood) taken as labels")


def test_deeplabcut_from_windows_and_from_excel(root, capsys):
    (root / "labeled-data/v").mkdir(parents=True)
    (root / "a.png").rename(root / "labeled-data/v/a.png")
    row = "labeled-data\\v\\a.png,1.5,2,,\n"
    put(root / "CollectedData_me.csv", (ONE + row).replace(".5", ";5").replace(",", ";").replace("1;5", "1,5"))
    assert faces_of(load_dataset("deeplabcut", root)) == [("labeled-data/v/a.png", {"nose": [1.5, 2]})]


def test_deeplabcut_points_at_zero_are_not_labelled_unless_asked(root, capsys):
    put(root / "CollectedData_me.csv", ONE + "a.png,0,0,3,4\nb.png,1,2,-1,-1\n")
    assert [points for _, points in faces_of(load_dataset("deeplabcut", root))] == [{"ear": [3, 4]}, {"nose": [1, 2]}]
    assert any(line.startswith("2 points at exactly (0, 0) or (-1, -1)") for line in notes_of(capsys))
    assert all(len(points) == 2 for _, points in faces_of(load_dataset("deeplabcut", root, keep_zeros=True)))
