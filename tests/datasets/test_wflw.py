from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from tests.datasets.layouts import draw_face, write_wflw

LIST = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt"
#: One line as the authors' files have them, its points at (0, 0.5), (1, 1.5), ...
LINE = " ".join(f"{k}.000000 {k}.500000" for k in range(98)) + " 3 4 90 95 1 0 0 0 0 1 37--Soccer/37_Soccer_37_5.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two faces of one picture and one of another to test, one to train."""
    first = draw_face("wflw-98", 0, group="largepose+blur", picture="crowd")
    second = draw_face("wflw-98", 1, group="makeup", picture="crowd")
    write_wflw(tmp_path, [first, second, draw_face("wflw-98", 2), draw_face("wflw-98", 3, split="train")])
    return tmp_path


def test_a_line_of_the_authors_form_gives_its_numbers(root):
    (root / LIST).write_text(LINE + "\n")
    (root / "WFLW_images/37--Soccer").mkdir()
    (root / "WFLW_images/7--Cheering/crowd.jpg").rename(root / "WFLW_images/37--Soccer/37_Soccer_37_5.jpg")
    (face,) = load_dataset("wflw", root).annotations
    assert face.points[[0, 97]].tolist() == [[0, 0.5], [97, 97.5]]
    assert face.box.tolist() == [3, 4, 90, 95]
    assert face.group == "largepose+blur"
    assert face.name == "37--Soccer/37_Soccer_37_5.jpg#0"
    assert face.source.endswith("attr_test.txt, row 1")


def test_faces_of_one_picture_have_names_of_their_own(root):
    dataset = load_dataset("wflw", root)
    assert [face.name for face in dataset.annotations] == [
        "7--Cheering/crowd.jpg#0", "7--Cheering/crowd.jpg#1", "7--Cheering/7_Cheering_2.jpg#0",
    ]  # fmt: skip
    assert dataset.annotations[0].image == dataset.annotations[1].image
    assert not np.array_equal(dataset[0]["points"], dataset[1]["points"])


def test_a_subset_by_attribute_keeps_the_names(root):
    (face,) = load_dataset("wflw", root, attribute="makeup").annotations
    assert face.name == "7--Cheering/crowd.jpg#1"
    assert len(load_dataset("wflw", root, attribute="blur")) == 1
    with pytest.raises(ConfigError, match=r"unknown attribute 'make-up'. Did you mean 'makeup'"):
        load_dataset("wflw", root, attribute="make-up")
    with pytest.raises(DataError, match="no usable faces"):
        load_dataset("wflw", root, attribute="occlusion")


def test_train_and_test_are_two_lists(root):
    assert [len(load_dataset("wflw", root, split=split)) for split in ("train", "test")] == [1, 3]


def lines(root: Path) -> list[str]:
    return (root / LIST).read_text().splitlines()


@pytest.mark.parametrize(("change", "words"), [
    (lambda line: line.split(" ", 1)[1], "206 fields, expected 206 numbers and a name"),
    (lambda line: "7.5 " + line, "208 fields, expected 206 numbers and a name"),
    (lambda line: line.rsplit(" ", 1)[0], "206 fields, expected 206 numbers and a name"),
    (lambda line: "nan" + line[line.index(" "):], "number 1 of 206 is nan"),
    (lambda line: "?" + line[line.index(" "):], r"'\?' found, expected number 1 of 206"),
    (lambda line: line[:-7] + "d.jpg", r"no picture .*crd\.jpg"),
])  # fmt: skip
def test_a_bad_row_is_named_and_can_be_left_out(root, change, words):
    first, second, third = lines(root)
    (root / LIST).write_text("\n".join([first, change(second), third]))
    with pytest.raises(DataError, match=f"row 2: .*{words}"):
        load_dataset("wflw", root)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(load_dataset("wflw", root, skip_broken=True)) == 2


@pytest.mark.parametrize("change", [
    lambda line: "nan" + line[line.index(" "):],
    lambda line: line.split(" ", 1)[1],
    lambda line: "7.5 " + line,
], ids=["not a number", "too few numbers", "too many numbers"])  # fmt: skip
def test_leaving_out_a_broken_row_renames_no_other_face(root, change):
    first, second, third = lines(root)
    moved = "9" + second[1:]  # a third face in the picture of the first two
    (root / LIST).write_text("\n".join([first, second, moved, third]))  # rows 1 to 3 are of one picture
    sound = load_dataset("wflw", root)
    names = {face.points.tobytes(): face.name for face in sound.annotations}
    assert sound.annotations[2].name == "7--Cheering/crowd.jpg#2"
    (root / LIST).write_text("\n".join([first, change(second), moved, third]))
    with pytest.warns(UserWarning, match="1 face skipped"):
        skipped = load_dataset("wflw", root, skip_broken=True)
    assert [face.name for face in skipped.annotations] == [names[face.points.tobytes()] for face in skipped.annotations]
    assert len(skipped) == 3


def test_identical_rows_are_noticed(root):
    first, second, third = lines(root)
    (root / LIST).write_text("\n".join([first, second, third, second]))
    with pytest.raises(DataError, match=r"row 4: this picture with the same points is listed twice \(first: 2\)"):
        load_dataset("wflw", root)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(load_dataset("wflw", root, skip_broken=True)) == 3
