"""The reader of LabelMe on small files typed by hand, as the tool writes them."""

from __future__ import annotations

import re

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import DataError
from tests.datasets.labelled import faces_of, notes_of, put


def shape(label: str, *points: tuple[float, float], kind: str = "point", group: int | None = None, **flags) -> dict:
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": flags}


def labelme(*shapes: dict, picture: str = "a.png") -> dict:
    return {"version": "5.4.1", "shapes": shapes, "imagePath": picture, "imageData": None,
            "imageHeight": 40, "imageWidth": 50}  # fmt: skip


def test_labelme_groups_and_boxes_are_faces(root):
    put(root / "json/a.json", labelme(
        shape("nose", (1, 2), group=1), shape("nose", (3, 4), group=2), shape("ear", (5, 6), group=2, occluded=True),
        shape("cat", (9, 9), (0, 0), kind="rectangle", group=1), shape("dog", (2, 3), (20, 30), kind="rectangle",
                                                                      group=2), picture="..\\a.png",
    ))  # fmt: skip
    dataset = load_dataset("labelme", root)
    assert faces_of(dataset) == [("a.png#1", {"nose": [1, 2]}), ("a.png#2", {"nose": [3, 4], "ear": [5, 6]})]
    assert [(face.group, face.box.tolist()) for face in dataset.annotations] == [
        ("cat", [0, 0, 9, 9]), ("dog", [2, 3, 20, 30]),
    ]  # fmt: skip
    assert dataset.annotations[1].occluded.tolist() == [False, True]


def test_labelme_points_without_groups_belong_to_the_box_around_them(root, capsys):
    boxes = (shape("cat", (0, 0), (10, 10), kind="rectangle"), shape("dog", (20, 0), (40, 10), kind="rectangle"))
    put(root / "a.json", labelme(shape("nose", (5, 5)), shape("nose", (30, 5)), *boxes))
    dataset = load_dataset("labelme", root)
    (said,) = notes_of(capsys)
    assert re.fullmatch("points given to the box they lie in .*group id.*: 2", said)
    assert [face.group for face in dataset.annotations] == ["cat", "dog"]
    put(root / "a.json", labelme(shape("nose", (15, 5)), *boxes))
    with pytest.raises(DataError, match=r"a\.json: point 'nose' lies in 0 of 2 boxes, expected one; give the points"):
        load_dataset("labelme", root)


@pytest.mark.parametrize(("shapes", "words"), [
    ([shape("nose", (1, 2)), shape("nose", (3, 4))], "point 'nose' is there 2 times, expected once in a face; give"),
    ([shape("nose", (1, 2)), shape("ear", (3, 4), group=1)], "1 points belong to no face, 1 faces are there"),
    ([{"label": "nose", "points": 3}], "a shape has another form"),
    ([shape("nose", (1, 2), (3, 4))], "a shape has another form"),
])  # fmt: skip
def test_labelme_says_what_is_wrong(root, shapes, words):
    put(root / "a.json", labelme(*shapes))
    with pytest.raises(DataError, match=rf"a\.json: {words}"):
        load_dataset("labelme", root)


def test_labelme_other_shapes_and_files_are_counted(root, capsys):
    put(root / "a.json", labelme(shape("nose", (1, 2)), shape("cat", (1, 2), (3, 4), (5, 6), kind="polygon")))
    put(root / "b.json", labelme(picture="b.png"))
    put(root / "other.json", {"a": 1})
    assert len(load_dataset("labelme", root)) == 1
    assert notes_of(capsys) == [
        "shapes that are neither points nor rectangles passed over: 1",
        "pictures without points passed over: 1",
        "JSON files that are not of LabelMe passed over: 1",
    ]


def test_labelme_names_that_people_typed_in_another_way_are_one_point(root, capsys):
    put(root / "a.json", labelme(shape("left eye", (1, 2)), shape("nose", (3, 4))))
    put(root / "b.json", labelme(shape("Nose", (5, 6)), shape("left_eye", (7, 8)), picture="b.png"))
    assert faces_of(load_dataset("labelme", root)) == [
        ("a.png", {"left eye": [1, 2], "nose": [3, 4]}), ("b.png", {"left eye": [7, 8], "nose": [5, 6]}),
    ]  # fmt: skip
    assert notes_of(capsys) == ["points with another spelling (Nose is nose, left_eye is left eye): 2"]
    put(root / "b.json", labelme(shape("P1", (5, 6)), shape("p1", (7, 8)), picture="b.png"))
    assert faces_of(load_dataset("labelme", root))[1] == ("b.png", {"P1": [5, 6], "p1": [7, 8]})
