"""Further annotation files as tools and people write them: what would be read wrongly without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.datasets._predictions import PredictionFile
from dife_lightning.errors import DataError
from dife_lightning.faces import get_scheme


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.jpg", "images/a.jpg", "images/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (50, 40)).save(tmp_path / name)
    return tmp_path


def points(dataset, index=0):
    item = dataset[index]
    return {
        name: place if seen else None
        for name, place, seen in zip(
            get_scheme(dataset.scheme).landmarks, item["points"].tolist(), item["visible"], strict=True
        )
    }


def read(root: Path, reader: str, written: str, text: str, **options):
    (root / written).write_text(text, encoding="utf-8")
    return load_dataset(reader, root, **options)


def table(root: Path, *lines: str, **options):
    return read(root, "folder", "points.csv", "\n".join(lines), **options)


def coco(root: Path, keypoints, **image):
    content = {"images": [{"id": 1, "file_name": "a.jpg", **image}],
               "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": keypoints}],
               "categories": [{"id": 1, "name": "fox", "keypoints": ["a", "b", "c"]}]}  # fmt: skip
    return read(root, "coco-keypoints", "c.json", json.dumps(content), file="c.json")


@pytest.mark.parametrize(("yes", "no"), [
    ("WAHR", "FALSCH"), ("2", "-1"), ("1,0", "0,0"), ("Y", "N"), ("T", "F"), ("occluded", "missing"), ("", "0.00"),
    ("VRAI", "FAUX"), ("1.0", "False"),
])  # fmt: skip
def test_words_of_visibility(root, yes, no):
    assert points(table(root, "image;a_x;a_y;a_v;b_x;b_y;b_v", f"a.jpg;1;2;{yes};3;4;{no}")) == {"a": [1, 2], "b": None}


@pytest.mark.parametrize("word", ["perhaps", "0.3", "3"])
def test_other_words_of_visibility_are_a_fault(root, word):
    with pytest.raises(DataError, match=rf"row 2: column a_visible is '{word}', expected 0 \(not labelled\), 1 or 2"):
        table(root, "image,a_x,a_y,a_visible", f"a.jpg,1,2,{word}")


@pytest.mark.parametrize(("header", "names"), [
    ("x0,y0,v0,x1,y1,v1", "01"), ("x1,y1,vis1,x2,y2,vis2", "01"), ("x_a,y_a,v_a,x_b,y_b,v_b", "ab"),
    ("x_0,y_0,v_0,x_1,y_1,v_1", "01"), ("a_x,a_y,a_visibility,b_x,b_y,b_visibility", "ab"),
])  # fmt: skip
def test_columns_of_visibility(root, capsys, header, names):
    assert points(table(root, f"image,{header}", "a.jpg,1,2,2,3,4,0")) == {names[0]: [1, 2], names[1]: None}
    assert "not used" not in capsys.readouterr().err


def test_points_relative_to_the_picture_are_not_taken_for_pixels(root):
    words = "row 3: all points lie between 0 and 1, relative to the size of the picture.*expected pixels"
    with pytest.raises(DataError, match=words):
        table(root, "image,a_x,a_y,b_x,b_y", "a.jpg,5,6,7,8", "images/b.jpg,0.5,0.25,1,0")
    dataset = table(root, "image,a_x,a_y,b_x,b_y", "a.jpg,0,1,1,1", "images/b.jpg,0.5,0.25,1,1.5")
    assert points(dataset) == {"a": [0, 1], "b": [1, 1]}
    with pytest.raises(DataError, match="annotation 1: all points lie between 0 and 1"):
        coco(root, [0.1, 0.2, 2, 0.3, 0.4, 2, 30, 20, 0])


def test_values_that_may_be_pairs_or_triples_are_not_guessed(root):
    with pytest.raises(DataError, match="6 values, which look like x, y, v of 2 points, but 3 points are named"):
        coco(root, [10, 11, 2, 20, 12, 1])
    assert points(coco(root, [10, 11, 20, 12, 15, 30])) == {"a": [10, 11], "b": [20, 12], "c": [15, 30]}


def test_scores_in_the_place_of_the_visibility_are_said(root, capsys):
    assert points(coco(root, [10, 11, 0.9, 20, 12, 2, 15, 30, 0.01]))["c"] == [15, 30]
    assert "2 points with a visibility v other than 0, 1 and 2" in capsys.readouterr().err


def test_sizes_as_text_are_compared_with_the_picture(root):
    with pytest.raises(DataError, match="is 50 x 40, the annotation is of 100 x 80"):
        coco(root, [10, 11, 2, 20, 12, 1, 1, 2, 2], width="100", height="80")[0]


def test_two_pictures_of_one_name_with_other_suffixes_are_not_guessed(root):
    for name in ("c.png", "c.webp", "d.JPG", "d.png"):
        Image.new("RGB", (50, 40)).save(root / name)
    with pytest.raises(DataError, match=r"2 pictures may be c\.jpg \(c\.png, c\.webp\)"):
        table(root, "image,a_x,a_y", "c.jpg,1,2")
    assert table(root, "image,a_x,a_y", "d.jpg,1,2").annotations[0].image.name == "d.JPG"


HEAD = "scorer,me,me,you,you\nbodyparts,{},{},{},{}\ncoords,x,y,x,y\n"


def test_deeplabcut_labels_that_are_there_twice(root):
    with pytest.raises(DataError, match=r"body part 'a' is there twice \(several scorers\?\)"):
        read(root, "deeplabcut", "CollectedData_me.csv", HEAD.format(*"aaaa") + "a.jpg,1,2,3,4\n")
    rows = HEAD.format(*"aabb") + "a.jpg,1,2,3,4\n"
    (root / "CollectedData_you.csv").write_text(rows.replace("3,4", "5,6"))
    with pytest.raises(
        DataError, match=r"you\.csv, row 4: picture 'a\.jpg' is labelled twice \(first: CollectedData_me"
    ):
        read(root, "deeplabcut", "CollectedData_me.csv", rows)


CVAT = (
    '<annotations><image id="0" name="a.jpg" width="50" height="40"><skeleton label="f">{}</skeleton></image>'
    "</annotations>"
)
POINT = '<points label="{}" outside="{}" points="{}"/>'


def test_cvat_points_that_are_outside_or_there_twice(root):
    text = CVAT.format(POINT.format("a", "true", "1,2") + POINT.format("b", "false", "3,4"))
    assert points(read(root, "cvat", "annotations.xml", text)) == {"a": None, "b": [3, 4]}
    text = CVAT.format(POINT.format("a", "0", "1,2") + POINT.format("a", "0", "3,4"))
    with pytest.raises(DataError, match="point 'a' is there 2 times, expected once in a face; delete the other one"):
        read(root, "cvat", "annotations.xml", text)


def yolo(root: Path, rows: str, names: str):
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels/b.txt").write_text(rows)
    text = f"train: images\nkpt_shape: [2, 3]\nnames: {{0: no, 1: dog}}\n{names}\n"
    return read(root, "yolo-pose", "data.yaml", text)


ROW = "0 0.5 0.5 1 1 0.5 0.25 2 0.1 0.9 2"  # (25, 10), (5, 36)


def test_yolo_classes_with_other_names(root):
    dataset = yolo(root, f"{ROW}\n1{ROW[1:]}", "kpt_names: {0: [a, b], 1: [b, c]}")
    assert [points(dataset, k) for k in (0, 1)] == [
        {"a": [25, 10], "b": [5, 36], "c": None}, {"a": None, "b": [25, 10], "c": [5, 36]}
    ]  # fmt: skip
    assert [face.group for face in dataset.annotations] == ["no", "dog"]


@pytest.mark.parametrize("names", ["kpt_names: {0: ['007', on]}", "kpt_names: [007, on]", "kpt_names: [[007, on]]"])
def test_yolo_names_are_text(root, names):
    assert points(yolo(root, ROW, names)) == {"007": [25, 10], "on": [5, 36]}


@pytest.mark.parametrize(("names", "words"), [
    ("kpt_names: [a, a]", r"kpt_names has a name twice \(a, a\)"),
    ("flip_idx: [2, 1]", r"flip_idx is \[2, 1\], expected the numbers 0 to 1, each once"),
    ("flip_idx: 3", "another form"),
])  # fmt: skip
def test_yolo_names_and_pairs_that_cannot_be(root, names, words):
    with pytest.raises(DataError, match=words):
        yolo(root, ROW, names)


def test_predictions_relative_to_the_picture_are_not_scored(root):
    path = root / "p.csv"
    for cells, fault in (("0.2,0.3,0.4,0.5", True), ("2,3,4,5", False)):
        path.write_text(f"image,a_x,a_y,b_x,b_y\na.jpg,{cells}\n")
        file = PredictionFile(str(path))
        if fault:
            with pytest.raises(DataError, match=r"p\.csv, row 2: all points lie between 0 and 1.*expected pixels"):
                file.on(root, ["a.jpg"])
        else:
            assert file.on(root, ["a.jpg"])["a.jpg"][0].points.tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("value", [-9, -99, -999, -1000])
def test_the_same_negative_number_twice_is_no_point_also_in_a_large_picture(root, capsys, value):
    Image.new("RGB", (9000, 8000)).save(root / "large.png")
    rows = ("image,nose_x,nose_y,chin_x,chin_y", f"large.png,15,30,{value},{value}", f"large.png,16,31,{value},5")
    assert points(table(root, *rows)) == {"nose": [15, 30], "chin": None}
    assert f"1 point at exactly (0, 0) or (-1, -1), ({value}, {value}) count as not labelled" in capsys.readouterr().err
    assert points(table(root, *rows, keep_zeros=True))["chin"] == [value, value]


@pytest.mark.parametrize("box", [[5, 6, 0, 9], [5, 6, 7, -1], [5, 6, 7, 0]])
def test_a_coco_box_without_an_area_is_no_box(root, box):
    (root / "c.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [9, 8, 2], "bbox": box}],
        "categories": [{"id": 1, "name": "fox", "keypoints": ["a"]}],
    }))  # fmt: skip
    assert load_dataset("coco-keypoints", root, file="c.json").annotations[0].box is None
