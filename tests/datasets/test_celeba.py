from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from tests.datasets.layouts import draw_face, write_celeba

LANDMARKS = "Anno/list_landmarks_align_celeba.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six faces: MAFL tests on four, of which CelebA trains on two."""
    parts = [("train", "mafl-test"), ("train", "mafl-test"), ("val", "mafl-test"), ("test", "mafl-test"),
             ("train", "mafl-train"), ("val", "none")]  # fmt: skip
    faces = [draw_face("mafl-5", i, split=split, group=group) for i, (split, group) in enumerate(parts)]
    write_celeba(tmp_path, faces)
    return tmp_path


def edit(root: Path, file: str, number: int, line: str) -> None:
    lines = (root / file).read_text().split("\n")
    lines[number - 1] = line
    (root / file).write_text("\n".join(lines))


def names(root: Path, **options) -> list[str]:
    return [face.name[5] for face in load_dataset("celeba", root, **options).annotations]


@pytest.mark.parametrize(("split", "expected"), [
    ("train", "125"), ("val", "36"), ("test", "4"), ("mafl-train", "5"), ("mafl-test", "1234"),
])  # fmt: skip
def test_splits_are_those_of_the_lists(root, split, expected):
    assert "".join(names(root, split=split)) == expected


def test_mafl_without_celebas_training_faces_is_counted(root, caplog):
    logging.getLogger("lightning.pytorch").propagate = True
    with caplog.at_level(logging.INFO):
        dataset = load_dataset("celeba", root, split="mafl-test", without_celeba_train=True)
    assert [face.name for face in dataset.annotations] == ["000003.jpg", "000004.jpg"]
    assert dataset.facts["mafl_test"] == 4
    assert dataset.facts["faces"] == 2
    assert dataset.facts["paper_count"] == 400
    assert "2 of 4 MAFL test faces are not in CelebA's training partition; papers speak of 400" in caplog.text
    with pytest.raises(ConfigError, match="goes with split='mafl-test', found 'val'"):
        load_dataset("celeba", root, split="val", without_celeba_train=True)


def test_real_header_lines_are_no_faces_and_may_be_missing(root):
    lines = (root / LANDMARKS).read_text().split("\n")
    assert lines[0] == "6"
    assert lines[1].startswith("lefteye_x")
    for head in (lines[2:], lines[1:], lines[:1] + lines[2:]):
        (root / LANDMARKS).write_text("\n".join(head))
        assert len(names(root, split="train")) == 3


def test_a_list_shorter_than_its_first_line_says_is_refused(root):
    lines = (root / LANDMARKS).read_text().split("\n")
    (root / LANDMARKS).write_text("\n".join(lines[:-3]))
    with pytest.raises(DataError, match=r"celeba\.txt, row 1: 6 faces are announced.*found 4"):
        load_dataset("celeba", root)


def test_the_better_pictures_are_taken_on_request_or_if_there_are_no_others(root):
    (root / "Img/img_align_celeba_hq").mkdir()
    for path in (root / "Img/img_align_celeba").iterdir():
        (root / "Img/img_align_celeba_hq" / path.name).write_bytes(path.read_bytes())
    assert load_dataset("celeba", root).annotations[0].image.parent.name == "img_align_celeba"
    hq = load_dataset("celeba", root, images="img_align_celeba_hq")
    assert hq.annotations[0].image.parent.name == hq.facts["images"] == "img_align_celeba_hq"
    (root / "Img/img_align_celeba").rename(root / "Img/away")
    assert load_dataset("celeba", root).facts["images"] == "img_align_celeba_hq"
    with pytest.raises(DataError, match=r"no folder .*img_align_celeba_png"):
        load_dataset("celeba", root, images="img_align_celeba_png")


def test_the_copy_without_losses_is_found_under_the_listed_names(root):
    from PIL import Image

    for path in (root / "Img/img_align_celeba").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    dataset = load_dataset("celeba", root)
    assert dataset.annotations[0].name == "000001.jpg"
    assert dataset.annotations[0].image.name == "000001.png"


@pytest.mark.parametrize(("row", "line", "words"), [
    (3, "000001.jpg 1 2 3 4 5 6 7 8 9", "10 fields, expected a name and 10 numbers"),
    (3, "000001.jpg 1 2 3 4 5 6 7 8 9 10 11", "12 fields, expected a name and 10 numbers"),
    (4, "000002.jpg 1 2 x 4 5 6 7 8 9 10", "'x' found, expected number 3 of 10"),
    (5, "000003.jpg 1 2 3 4 5 nan 7 8 9 10", "number 6 of 10 is nan, expected a finite number"),
    (6, "000004.jpg 1 2 3 4 5 6 7 8 9 -inf", "number 10 of 10 is -inf"),
    (8, "000001.jpg 1 2 3 4 5 6 7 8 9 10", r"'000001.jpg' is listed twice \(first: 3\)"),
    (4, "other.jpg 1 2 3 4 5 6 7 8 9 10", "'000002.jpg' has no landmarks"),
])  # fmt: skip
def test_a_bad_row_is_named_and_can_be_left_out(root, row, line, words):
    edit(root, LANDMARKS, row, line)
    with pytest.raises(DataError, match=rf"row \d+: .*{words}") as caught:
        load_dataset("celeba", root)
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="skipped"):
        dataset = load_dataset("celeba", root, skip_broken=True)
    assert len(dataset) == (4 if row == 8 else 3)
    file = "testing.txt, row 2" if line.startswith("other") else f"celeba.txt, row {row}"
    assert dataset.left_out[0].source.endswith(file)


@pytest.mark.parametrize(("file", "line", "words"), [
    ("Eval/list_eval_partition.txt", "000001.jpg 3", "expected a name and 0, 1 or 2"),
    ("Eval/list_eval_partition.txt", "000001.jpg", "expected a name and 0, 1 or 2"),
    ("Eval/list_eval_partition.txt", "nobody.jpg 0", "'nobody.jpg' has no landmarks"),
    ("Eval/list_eval_partition.txt", "0", "'0', expected a name and 0, 1 or 2"),
])  # fmt: skip
def test_a_bad_row_of_the_partition_is_named(root, file, line, words):
    edit(root, file, 1, line)
    with pytest.raises(DataError, match=rf"{file}, row 1: .*{words}"):
        load_dataset("celeba", root, split="train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_face_in_two_parts_is_no_face_of_the_second(root, split):
    edit(root, "Eval/list_eval_partition.txt", 3, "000001.jpg 1")  # it is trained on, and now validated, too
    with pytest.raises(DataError, match=r"partition\.txt, row 3: '000001\.jpg' is listed twice \(first: row 1\)"):
        load_dataset("celeba", root, split=split)
    with pytest.warns(UserWarning, match="skipped"):
        found = names(root, split=split, skip_broken=True)
    assert ("1" in found) == (split == "train")


def test_columns_of_the_partition_may_be_apart_by_tabs(root):
    path = root / "Eval/list_eval_partition.txt"
    path.write_text(path.read_text().replace(" ", "\t").replace("000002.jpg", "00 0002.jpg"))
    edit(root, LANDMARKS, 4, "00 0002.jpg 1 2 3 4 5 6 7 8 9 10")
    (root / "Img/img_align_celeba/000002.jpg").rename(root / "Img/img_align_celeba/00 0002.jpg")
    found = [face.name for face in load_dataset("celeba", root, split="train").annotations]
    assert found == ["000001.jpg", "00 0002.jpg", "000005.jpg"]


def test_a_test_face_of_which_the_partition_says_nothing_is_not_taken_for_untrained(root):
    edit(root, "Eval/list_eval_partition.txt", 3, "")
    with pytest.raises(DataError, match=r"celeba\.txt, row 5: '000003\.jpg' is in no part of CelebA"):
        load_dataset("celeba", root, without_celeba_train=True)
    with pytest.warns(UserWarning, match="skipped"):
        assert names(root, without_celeba_train=True, skip_broken=True) == ["4"]


def test_a_name_twice_in_mafls_list_is_named(root):
    edit(root, "MAFL/testing.txt", 2, "000001.jpg")
    with pytest.raises(DataError, match=r"testing\.txt, row 2: '000001\.jpg' is listed twice \(first: row 1\)"):
        load_dataset("celeba", root)


@pytest.mark.parametrize("file", [LANDMARKS, "Eval/list_eval_partition.txt"])
def test_a_missing_list_is_named(root, file):
    (root / file).unlink()
    with pytest.raises(DataError, match=f"no file .*{file}"):
        load_dataset("celeba", root, split="train")


def test_all_rows_at_once_are_read_as_one_by_one(root):
    quick = load_dataset("celeba", root, split="train")
    # A name with a blank needs the slow way, for all rows.
    edit(root, LANDMARKS, 8, "00 0006.jpg 1 2 3 4 5 6 7 8 9 10")
    slow = load_dataset("celeba", root, split="train")
    assert np.array_equal([f.points for f in quick.annotations], [f.points for f in slow.annotations])
