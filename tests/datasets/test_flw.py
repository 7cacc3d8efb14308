from __future__ import annotations

import json
from pathlib import Path

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import DataError
from tests.datasets.layouts import draw_face, write_catflw, write_dogflw


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_catflw(tmp_path, [draw_face("catflw-48", i) for i in range(2)])
    return tmp_path


def test_a_dog_is_no_cat(tmp_path):
    write_dogflw(tmp_path, [draw_face("dogflw-46")])
    assert len(load_dataset("dogflw", tmp_path)) == 1
    with pytest.raises(DataError, match=r"00000000_000\.json: labels: shape \(46, 2\), expected \(48, 2\)"):
        load_dataset("catflw", tmp_path)


def test_a_box_in_a_list_and_no_box_are_fine(root):
    path = root / "labels/00000001_000.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "bounding_boxes": [[1, 2, 3, 4]]}))
    assert load_dataset("catflw", root).annotations[1].box.tolist() == [1, 2, 3, 4]
    path.write_text(json.dumps({"labels": content["labels"]}))
    assert load_dataset("catflw", root).annotations[1].box is None


@pytest.mark.parametrize(("change", "words"), [
    ({"labels": [[1, 2]] * 47}, r"labels: shape \(47, 2\), expected \(48, 2\)"),
    ({"labels": [[1, 2]] * 47 + [[1]]}, "labels: no array of numbers"),
    ({"labels": [["x", 2]] * 48}, "labels: no array of numbers"),
    ({"labels": [[float("nan"), 2]] * 48}, "labels: NaN or infinity"),
    ({"bounding_boxes": [1, 2, 3]}, r"bounding_boxes: shape \(3,\), expected \(4,\)"),
    ({"bounding_boxes": [[1, 2], [3]]}, "bounding_boxes: no array of numbers"),
    ("no dict", "no 'labels'"),
    (None, "not JSON"),
])  # fmt: skip
def test_a_bad_file_is_named_and_can_be_left_out(root, change, words):
    path = root / "labels/00000001_000.json"
    content = json.loads(path.read_text())
    changed = {**content, **change} if isinstance(change, dict) else change
    path.write_text("{" if change is None else json.dumps(changed))
    with pytest.raises(DataError, match=rf"00000001_000\.json: .*{words}"):
        load_dataset("catflw", root)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(load_dataset("catflw", root, skip_broken=True)) == 1
