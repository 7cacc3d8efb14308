from __future__ import annotations

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.datasets.parsing.pts import read_points
from dife_lightning.errors import ConfigError, DataError
from tests.datasets.layouts import draw_face, pts_text, write_w300

PLACES = [
    ("train", "afw"),
    ("train", "helen"),
    ("train", "lfpw"),
    ("test", "helen"),
    ("test", "lfpw"),
    ("test", "ibug"),
]


@pytest.fixture
def root(tmp_path):
    faces = [draw_face("300w-68", i, split=split, group=group) for i, (split, group) in enumerate(PLACES)]
    write_w300(tmp_path, faces)
    return tmp_path


def test_coordinates_that_count_from_1_are_shifted(root):
    points = np.arange(1, 137).reshape(68, 2)
    (root / "ibug/image_005.pts").write_text(pts_text(points))
    (face,) = load_dataset("w300", root, split="challenging").annotations
    assert face.points[0].tolist() == [0, 1]
    assert face.points[67].tolist() == [134, 135]


@pytest.mark.parametrize(("split", "expected"), [
    ("train", ["afw/image_000.jpg", "helen/trainset/image_001.jpg", "lfpw/trainset/image_002.png"]),
    ("test", ["helen/testset/image_003.jpg", "lfpw/testset/image_004.png", "ibug/image_005.jpg"]),
    ("common", ["helen/testset/image_003.jpg", "lfpw/testset/image_004.png"]),
    ("challenging", ["ibug/image_005.jpg"]),
])  # fmt: skip
def test_splits_are_folders(root, split, expected):
    faces = load_dataset("w300", root, split=split).annotations
    assert [face.name for face in faces] == expected
    assert [face.group for face in faces] == [name.split("/")[0] for name in expected]
    assert all(face.box is None for face in faces)


def test_mirrored_twins_are_no_faces(root):
    for suffix in (".jpg", ".pts"):
        (root / f"ibug/image_005_mirror{suffix}").write_bytes((root / f"ibug/image_005{suffix}").read_bytes())
    assert len(load_dataset("w300", root, split="challenging")) == 1


def test_a_missing_folder_is_named(root):
    (root / "lfpw/testset").rename(root / "away")
    assert len(load_dataset("w300", root, split="train")) == 3
    with pytest.raises(DataError, match=r"no folder .*lfpw/testset"):
        load_dataset("w300", root)


def test_the_name_with_a_leading_digit_is_understood():
    with pytest.raises(ConfigError, match="Did you mean 'w300'"):
        load_dataset("300w", ".")


def test_real_files_of_points_are_read(shared):
    for path in sorted(shared("samples/pts").glob("*.pts")):
        lines = path.read_bytes().decode().split("{")[1].split("}")[0].split()
        points = read_points(path, 68)
        assert points.shape == (68, 2)
        assert points[0].tolist() == [float(lines[0]), float(lines[1])]
        assert points[67, 1] == float(lines[-1])
