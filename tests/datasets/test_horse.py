from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import DataError
from tests.datasets.layouts import draw_face, write_horse

LIST = "test_minLoss_horse.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    seen = np.array([True, False, True, True, False])
    faces = [draw_face("horse-5", 0), draw_face("horse-5", 1, visible=seen), draw_face("horse-5", 2, split="train")]
    write_horse(tmp_path, faces)
    return tmp_path


def labels(root: Path, number: int) -> Path:
    return root / f"horse/npy/flickr-horses/{number}.npy"


def test_a_negative_flag_means_not_labelled(root):
    faces = load_dataset("horse", root).annotations
    assert [face.visible.tolist() for face in faces] == [[True] * 5, [True, False, True, True, False]]
    assert faces[1].points[1].tolist() == [0, 0]
    assert [face.name for face in faces] == [f"horse/im/flickr-horses/{n}.jpg" for n in (200, 201)]


def test_splits_are_lists_and_another_list_may_be_given(root):
    assert len(load_dataset("horse", root, split="train")) == 1
    (root / "few.txt").write_text((root / LIST).read_text().splitlines()[1] + "\n")
    (face,) = load_dataset("horse", root, names="few.txt").annotations
    assert face.name.endswith("201.jpg")
    with pytest.raises(DataError, match=r"no list .*more\.txt"):
        load_dataset("horse", root, names="more.txt")


def test_boxes_are_those_of_a_file_or_whole_pictures(root):
    assert load_dataset("horse", root).annotations[0].box is None
    (root / "bbox.csv").write_text("img,x,y,w,h\nkoala_1.jpg,1,1,1,1\nhorse/im/flickr-horses/201.jpg,3,4,50,60\n")
    for place in (root, root / "horse"):
        boxes = [face.box for face in load_dataset("horse", place, boxes=root / "bbox.csv").annotations]
        assert (boxes[0], boxes[1].tolist()) == (None, [3, 4, 53, 64])
    assert load_dataset("horse", root).annotations[1].box.tolist() == [3, 4, 53, 64]
    dataset = load_dataset("horse", root, boxes="whole")
    for face, item in zip(dataset.annotations, dataset, strict=True):
        height, width = item["image"].shape[:2]
        assert face.box.tolist() == [-0.5, -0.5, width - 0.5, height - 0.5]
    with pytest.raises(DataError, match=r"no file of boxes .*more\.csv.*boxes=whole"):
        load_dataset("horse", root, boxes="more.csv")


@pytest.mark.parametrize("prefix", ["", "./", "../data/", "/home/someone/horse_project/data/"])
def test_paths_of_another_machine_are_found_below_the_root(tmp_path, prefix):
    write_horse(tmp_path, [draw_face("horse-5")], prefix=prefix)
    for root in (tmp_path, tmp_path / "horse"):
        (face,) = load_dataset("horse", root).annotations
        assert face.image == tmp_path / "horse/im/flickr-horses/200.jpg"


def test_labels_that_would_run_code_are_not_loaded(root):
    np.save(labels(root, 201), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=rf"{LIST}, row 2: .*201\.npy is no array of numbers"):
        load_dataset("horse", root)


@pytest.mark.parametrize(("value", "words"), [
    (np.ones((5, 2)), r"float64 of shape \(5, 2\), expected numbers of shape \(5, 3\)"),
    (np.full((5, 3), "x"), r"<U1 of shape \(5, 3\)"),
    (np.full((5, 3), np.nan), "row 2: the flag of point 0 is nan, expected 1 or -1"),
    (np.where(np.arange(15).reshape(5, 3) == 1, np.nan, 1), r"point 0 is \(1.0, nan\), expected finite"),
])  # fmt: skip
def test_labels_of_another_form_are_named(root, value, words):
    np.save(labels(root, 201), value)
    with pytest.raises(DataError, match=rf"{LIST}.*{words}"):
        load_dataset("horse", root)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(load_dataset("horse", root, skip_broken=True)) == 1


@pytest.mark.parametrize("content", [
    b"", b"text", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x0a\x00{'descr': ", b"\x93NUMPY\x01\x00\x08\x00(\0\0\0\0\0\0\n",
])  # fmt: skip
def test_labels_that_are_no_array_are_named(root, content):
    labels(root, 200).write_bytes(content)
    with pytest.raises(DataError, match=rf"{LIST}, row 1: .*200\.npy is no array of numbers") as caught:
        load_dataset("horse", root)
    assert "\n" not in str(caught.value)


def test_missing_labels_and_lines_of_another_form_are_named(root):
    labels(root, 200).unlink()
    with pytest.raises(DataError, match=rf"{LIST}, row 1: no file .*200\.npy"):
        load_dataset("horse", root)
    labels(root, 201).unlink()
    with pytest.raises(
        DataError, match=r"row 1: no file .*200\.npy; expected labels there \(the first of 2 such faces\)"
    ):
        load_dataset("horse", root)
    (root / LIST).write_text("horse/im/flickr-horses/201.jpg\n")
    with pytest.raises(DataError, match=rf"{LIST}, row 1: '.*201\.jpg', expected a picture and a \.npy file"):
        load_dataset("horse", root)


def test_a_picture_twice_is_noticed(root):
    line = (root / LIST).read_text().splitlines()[0]
    (root / LIST).write_text(f"{line}\n{line}\n")
    with pytest.raises(DataError, match=r"row 2: '.*200\.jpg' is listed twice \(first: 1\)"):
        load_dataset("horse", root)
