"""The reader of CVAT on small files typed by hand, as the tool writes them."""

from __future__ import annotations

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from tests.datasets.labelled import faces_of, names_of, put


def cvat(*shapes: str, meta: str = "", name: str = "a.png") -> str:
    inner = "".join(shapes)
    return (f"<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version>{meta}"
            f'<image id="3" name="{name}" width="50" height="40">{inner}</image></annotations>')  # fmt: skip


def point(label: str, place: str, more: str = "") -> str:
    return f'<points label="{label}" occluded="0" points="{place}" z_order="0" {more}/>'


def test_cvat_skeletons_have_the_order_of_the_task_and_points_outside_are_not_labelled(root):
    points = [f"<label><name>{name}</name><parent>cat</parent></label>" for name in ("ear", "nose", "tail")]
    meta = f"<meta><task><labels><label><name>cat</name></label>{''.join(points)}</labels></task></meta>"
    inner = point("nose", "1.50,2.00") + point("ear", "9,9", 'outside="1"')
    put(root / "annotations.xml", cvat(f'<skeleton label="cat">{inner}</skeleton>', meta=meta))
    dataset = load_dataset("cvat", root)
    assert (names_of(dataset), faces_of(dataset)) == (["ear", "nose"], [("a.png", {"nose": [1.5, 2]})])
    assert dataset.annotations[0].group == "cat"


def test_cvat_labels_with_other_points_are_chosen(root):
    put(root / "annotations.xml", cvat(f'<skeleton label="cat">{point("nose", "1,2")}</skeleton>',
                                       f'<skeleton label="car">{point("wheel", "3,4")}</skeleton>'))  # fmt: skip
    dataset = load_dataset("cvat", root, label="car")
    assert (names_of(dataset), len(dataset)) == (["wheel"], 1)
    assert names_of(load_dataset("cvat", root)) == ["nose", "wheel"]
    with pytest.raises(ConfigError, match=r"cvat: unknown label 'cats'\. Did you mean 'cat'"):
        load_dataset("cvat", root, label="cats")


def test_cvat_loose_points_are_a_face_by_group_and_boxes_are_theirs(root):
    put(root / "annotations.xml", cvat(
        point("nose", "1,2", 'group_id="1"'), point("nose", "21,2", 'group_id="2"'), point("ear", "3,4",
                                                                                       'group_id="1"'),
        '<box label="dog" xtl="20" ytl="0" xbr="40" ybr="10" group_id="2"/>',
    ))  # fmt: skip
    dataset = load_dataset("cvat", root)
    assert faces_of(dataset) == [("a.png#1", {"nose": [1, 2], "ear": [3, 4]}), ("a.png#2", {"nose": [21, 2]})]
    assert dataset.annotations[0].box is None
    assert (dataset.annotations[1].group, dataset.annotations[1].box.tolist()) == ("dog", [20, 0, 40, 10])


def test_cvat_points_of_one_shape_are_numbered(root):
    put(root / "annotations.xml", cvat(point("face", "1,2;3,4;5,6")))
    assert faces_of(load_dataset("cvat", root)) == [("a.png", {"face_0": [1, 2], "face_1": [3, 4], "face_2": [5, 6]})]


@pytest.mark.parametrize(("text", "words"), [
    (cvat('<box label="a" xtl="1" ytl="1" xbr="2" ybr="2"/>', '<polygon label="a" points="1,2;3,4"/>'),
     "no skeletons and no points; found 1 box, 1 polygon. Label key points in CVAT as a skeleton"),
    (cvat(), "found 1 bare images"),
    ("<annotations><track id='0' label='cat'/></annotations>", "tracks of a video; export the task as"),
    ("<html></html>", "starts with <html>, expected <annotations>"),
    ("no xml", "not XML"),
    (cvat(point("nose", "1;2")), r"image 3 \(a\.png\): point 'nose' is '1', expected x,y"),
])  # fmt: skip
def test_cvat_says_what_is_wrong(root, text, words):
    put(root / "annotations.xml", text)
    with pytest.raises(DataError, match=words):
        load_dataset("cvat", root)


def test_cvat_reads_the_file_that_is_named_and_no_other(root):
    put(root / "task.xml", cvat(point("nose", "1,2")))
    assert len(load_dataset("cvat", root)) == 1
    with pytest.raises(DataError, match=r"other\.xml cannot be read"):
        load_dataset("cvat", root, file="other.xml")


def test_cvat_files_may_state_their_encoding(root):
    text = cvat(point("Schn\u00e4uzchen", "1,2")).replace("utf-8", "iso-8859-1")
    (root / "annotations.xml").write_bytes(text.encode("latin-1"))
    assert faces_of(load_dataset("cvat", root)) == [("a.png", {"Schn\u00e4uzchen": [1, 2]})]
