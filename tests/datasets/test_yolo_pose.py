"""The reader of YOLO-pose on small files typed by hand, as the tool writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import get_scheme
from tests.datasets.labelled import faces_of, notes_of, put

YAML = "path: .\ntrain: images/train\nval: images/val\nkpt_shape: [2, 3]\nnames: [cat, dog]\n"


@pytest.fixture
def yolo(root: Path) -> Path:
    for split, name in (("train", "a.png"), ("val", "b.png")):
        (root / "images" / split).mkdir(parents=True)
        (root / name).rename(root / "images" / split / name)
    put(root / "data.yaml", YAML)
    put(root / "labels/train/a.txt", "0 0.5 0.5 0.2 0.5 0.1 0.2 2 0 0 0\n1 0.5 0.5 1 1 0.5 0.5 1 1 1 2\n")
    put(root / "labels/val/b.txt", "1 0.5 0.5 1 1 0.5 0.5 2 0.25 0.25 2\n")
    return root


def test_yolo_pose_reads_all_splits_classes_and_flags(yolo):
    dataset = load_dataset("yolo-pose", yolo)
    assert faces_of(dataset) == [
        ("images/train/a.png#1", {"0": [5, 8]}),
        ("images/train/a.png#2", {"0": [25, 20], "1": [50, 40]}),
        ("images/val/b.png", {"0": [25, 20], "1": [12.5, 10]}),
    ]
    assert [face.group for face in dataset.annotations] == ["cat", "dog", "dog"]
    assert dataset.annotations[0].box.tolist() == [20, 10, 30, 30]
    assert dataset.annotations[1].occluded.tolist() == [True, False]
    assert len(load_dataset("yolo-pose", yolo, split="val")) == 1
    assert len(load_dataset("yolo-pose", yolo, category="cat")) == 1


def test_yolo_pose_pairs_are_those_of_the_file(yolo):
    put(yolo / "data.yaml", YAML + "flip_idx: [1, 0]\n")
    assert get_scheme(load_dataset("yolo-pose", yolo).scheme).flip_pairs == ((0, 1),)


def test_yolo_pose_without_flags_and_with_a_list_of_pictures(yolo, capsys):
    put(yolo / "data.yaml", YAML.replace("3]", "2]").replace("images/train", "train.txt").replace("val:", "test:"))
    put(yolo / "train.txt", "./images/train/a.png\n")
    put(yolo / "labels/train/a.txt", "0 0.5 0.5 0.2 0.5 0.1 0.2 0 0\n")
    assert faces_of(load_dataset("yolo-pose", yolo, split="train")) == [("images/train/a.png", {"0": [5, 8]})]
    assert any(line.startswith("1 point at exactly (0, 0)") for line in notes_of(capsys))


def test_yolo_pose_from_another_machine_and_with_pictures_of_nothing(yolo, capsys):
    put(yolo / "data.yaml", YAML.replace("path: .", "path: /home/someone/data"))
    (yolo / "labels/val/b.txt").unlink()
    assert len(load_dataset("yolo-pose", yolo)) == 2
    assert notes_of(capsys) == [
        "path /home/someone/data is not here, the folder of data.yaml is taken, splits: 3",
        "pictures without a label file passed over: 1",
    ]


@pytest.mark.parametrize(("file", "text", "words"), [
    ("labels/val/b.txt", "1 0.5 0.5 1 1 0.5 0.5 2\n", r"b\.txt, row 1: 8 numbers, expected 11"),
    ("labels/val/b.txt", "2 0.5 0.5 1 1 0 0 0 1 1 2\n", r"b\.txt, row 1: class 2, expected one of 0, 1"),
    ("labels/val/b.txt", "1 0.5 0.5 1 1 30 40 2 1 1 2\n", r"row 1: \(30, 40\) found, expected numbers relative"),
    ("labels/val/b.txt", "1 0.5 0.5 1 1 0.5 0.5 0.9 1 1 2\n", "visibility of point 0 is 0.9, expected 0, 1 or 2"),
    ("data.yaml", YAML.replace("[2, 3]", "2"), r"kpt_shape is 2, expected \[number of points, 2 or 3\]"),
    ("data.yaml", YAML.replace("images/", "nowhere/"), "no folder and no list of pictures"),
    ("data.yaml", "names: [cat]\n", "no train, val or test"),
    ("data.yaml", YAML + "kpt_names: {0: [nose]}\n", "1 names of points, kpt_shape says 2"),
])  # fmt: skip
def test_yolo_pose_says_what_is_wrong(yolo, file, text, words):
    put(yolo / file, text)
    with pytest.raises(DataError, match=words):
        load_dataset("yolo-pose", yolo)


def test_yolo_pose_folders_beside_the_file_and_splits_that_are_not_there(yolo, capsys):
    put(yolo / "data.yaml", YAML.replace("images/train", "../images/train").replace("images/val", "images/nowhere"))
    assert len(load_dataset("yolo-pose", yolo)) == 2
    (said,) = [line for line in notes_of(capsys) if "splits" in line]
    assert said.startswith("splits passed over, since there is no ")
    assert said.endswith("images/nowhere: 1")
