from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.datasets.animalweb import species_of
from dife_lightning.errors import ConfigError, DataError, MissingAssetError
from tests.datasets.layouts import draw_face, pts_text, write_animalweb

SPECIES = ("koala", "koala", "lion", "arcticfox")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_animalweb(tmp_path, [draw_face("animalweb-9", i, group=group) for i, group in enumerate(SPECIES)])
    return tmp_path


def names(root: Path, **options) -> list[str]:
    return [face.name for face in load_dataset("animalweb", root, **options).annotations]


def test_faces_come_in_the_order_of_their_names_with_their_species(root):
    dataset = load_dataset("animalweb", root)
    assert [face.name for face in dataset.annotations] == [
        "arcticfox_3.jpg",
        "koala_0.jpg",
        "koala_1.jpg",
        "lion_2.jpg",
    ]
    assert [face.group for face in dataset.annotations] == ["arcticfox", "koala", "koala", "lion"]
    assert dataset.annotations[0].source == f"{root}/arcticfox_3.pts"


def test_species_are_chosen_one_or_several(root):
    assert names(root, species="koala") == ["koala_0.jpg", "koala_1.jpg"]
    assert names(root, species=["lion", "arcticfox"]) == ["arcticfox_3.jpg", "lion_2.jpg"]
    with pytest.raises(
        ConfigError, match=r"unknown species 'koal'. Did you mean 'koala'.*Known: arcticfox, koala, lion"
    ):
        load_dataset("animalweb", root, species=["lion", "koal"])


def test_other_species_are_not_even_parsed(root):
    (root / "lion_2.pts").write_text("broken")
    assert len(names(root, species="koala")) == 2


def test_a_list_of_names_gives_its_order(root, tmp_path):
    (root / "test.txt").write_text("lion_2.jpg\r\nkoala_1\r\n\r\n")
    assert names(root, names="test.txt") == ["lion_2.jpg", "koala_1.jpg"]
    assert names(root, names=root / "test.txt", species="koala") == ["koala_1.jpg"]
    with pytest.raises(DataError, match=r"no file .*other\.txt"):
        load_dataset("animalweb", root, names="other.txt")


def test_a_name_listed_again_counts_once_and_is_told(root, capsys):
    (root / "test.txt").write_text("koala_1.jpg\nlion_2.jpg\nkoala_1\nkoala_1.jpg\n")
    dataset = load_dataset("animalweb", root, names="test.txt")
    assert [face.name for face in dataset.annotations] == ["koala_1.jpg", "lion_2.jpg"]
    assert "test.txt lists 2 faces again (koala_1, koala_1.jpg); each counts once" in capsys.readouterr().err
    assert len(dataset.facts["notes"]) == 1


def test_listed_faces_that_are_missing_are_named_and_counted(root):
    (root / "test.txt").write_text("koala_1.jpg\nkoala_7.jpg\n\nkoala_8.jpg\n")
    with pytest.raises(
        DataError, match=r"test\.txt, row 2: no points for 'koala_7\.jpg'.*first of 2 such faces"
    ) as caught:
        load_dataset("animalweb", root, names="test.txt")
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="2 faces skipped"):
        assert names(root, names="test.txt", skip_broken=True) == ["koala_1.jpg"]
    for number in (0, 1):
        (root / f"koala_{number}.jpg").unlink()
    with pytest.raises(DataError, match=r"koala_0\.pts: no picture .*koala_0\.jpg; .*first of 2 such faces"):
        load_dataset("animalweb", root, species="koala")


@pytest.mark.parametrize(("name", "species"), [
    ("arcticfox_12.jpg", "arcticfox"), ("arcticfox_12", "arcticfox"), ("animalweb/yak_7.JPG", "yak"),
    ("c:\\faces\\red_panda_3.png", "red_panda"), ("face.jpg", ""),
])  # fmt: skip
def test_the_species_is_in_the_name(name, species):
    assert species_of(name) == species


def test_what_a_published_test_list_shares_with_others_is_told_in_one_note(root, capsys):
    (root / "train_40img.txt").write_bytes(b"koala_0.jpg\r\narcticfox_9.jpg\r\n")
    (root / "all_150.txt").write_text("lion_2.jpg\nlion_7.jpg\n")
    (root / "test_40_unknown.txt").write_text("koala_1.jpg\nlion_2.jpg\narcticfox_3.jpg\n")
    (root / "other_unknown.txt").write_text((root / "test_40_unknown.txt").read_text())
    assert len(names(root, names="other_unknown.txt")) == 3
    assert capsys.readouterr().err == ""
    assert len(names(root, names="test_40_unknown.txt")) == 3
    told = "2 species with train_40img.txt (arcticfox, koala); 1 picture with all_150.txt (lion_2)"
    assert capsys.readouterr().err == f"note: animalweb: test_40_unknown.txt shares {told}\n"
    (root / "test_40_known.txt").write_text("koala_1.jpg\n")  # known species are those of the training list
    assert len(names(root, names="test_40_known.txt")) == 1
    assert capsys.readouterr().err == ""
    (root / "japanesemacaque_test.txt").write_text("koala_1.jpg\nkoala_0.jpg\n")
    (root / "primate.txt").write_text("koala_0.jpg\n")
    names(root, names="japanesemacaque_test.txt")
    assert "japanesemacaque_test.txt shares 1 picture with primate.txt (koala_0)\n" in capsys.readouterr().err


def test_lists_and_boxes_may_be_named_in_paths_yaml(root, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("meta")
    (other / "data").mkdir()
    (other / "data/few.txt").write_text("lion_2.jpg\n")
    (other / "data/bbox.csv").write_text("img,x,y,w,h\nlion_2.jpg,1,2,30,40\n")
    (other / "paths.yaml").write_text("meta-cskt: .\n")
    monkeypatch.setenv("DIFE_PATHS", str(other / "paths.yaml"))
    options = {"names": "own/meta-cskt/data/few.txt", "boxes": "own/meta-cskt/data/bbox.csv"}
    (face,) = load_dataset("animalweb", root, **options).annotations
    assert (face.name, face.box.tolist()) == ("lion_2.jpg", [1, 2, 31, 42])
    with pytest.raises(MissingAssetError, match=r"own/meta-cskt/data/more\.txt.*does not exist"):
        load_dataset("animalweb", root, names="own/meta-cskt/data/more.txt")


@pytest.mark.parametrize(
    "below", ["animal_dataset_v1_clean_check", "animal_dataset_v1_c/animal_dataset_v1_clean_check"]
)
def test_the_unpacked_archive_may_be_given(tmp_path, below):
    write_animalweb(tmp_path / below, [draw_face("animalweb-9")], boxes=False)
    (face,) = load_dataset("animalweb", tmp_path).annotations
    assert face.image == tmp_path / below / "koala_0.jpg"


def test_boxes_are_optional_and_may_lie_elsewhere(root, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("other") / "boxes.csv"
    other.write_text("img,x,y,w,h\nkoala_0.jpg,1,2,30,40\n")
    faces = load_dataset("animalweb", root, boxes=other).annotations
    assert faces[1].box.tolist() == [1, 2, 31, 42]
    assert faces[0].box is None
    assert f"3 of 4 faces have no box in {other}: arcticfox_3.jpg, koala_1.jpg, lion_2.jpg" in capsys.readouterr().err
    (root / "bbox.csv").unlink()
    assert load_dataset("animalweb", root).annotations[1].box is None


def test_lists_and_boxes_fit_pictures_with_another_suffix(root):
    before = load_dataset("animalweb", root).annotations[1]
    (root / "koala_0.jpg").rename(root / "koala_0.JPG")
    (root / "test.txt").write_text("lion_2.jpg\nkoala_0.jpg\n")
    found = load_dataset("animalweb", root, names="test.txt").annotations[1]
    assert found.image == root / "koala_0.JPG"
    assert found.box.tolist() == before.box.tolist()


@pytest.mark.parametrize(("text", "words"), [
    ("img,x,y,w\na.jpg,1,2,3\n", "row 1: no column 'h'. .*Known: img, w, x, y"),
    ("img,x,y,w,h,x\n", "row 1: column 'x' is repeated"),
    ("img,x,y,w,h\nkoala_0.jpg,1,2,x,4\n", "row 2: 'x' found, expected number 3 of 4"),
    ("img,x,y,w,h\nkoala_0.jpg,1,2\n", "row 2: 2 numbers, expected 4"),
    ("", "is empty; expected a first line"),
])  # fmt: skip
def test_a_bad_file_of_boxes_is_named(root, text, words):
    (root / "bbox.csv").write_text(text)
    with pytest.raises(DataError, match=rf"bbox\.csv.*{words}"):
        load_dataset("animalweb", root)


@pytest.mark.parametrize(("text", "words"), [
    (pts_text(np.ones((8, 2))), "n_points is 8, expected 9"),
    (pts_text(np.ones((9, 2))).replace("1.000000 1.000000\n", "", 1), "8 points, expected 9"),
    (pts_text(np.ones((9, 2))).replace("1.000000 1.000000\n", "1.0\n", 1), "row 4: 1 numbers, expected 2"),
    (pts_text(np.ones((9, 2))).replace("1.000000", "nan", 1), "row 4: number 1 of 2 is nan"),
    (pts_text(np.ones((9, 2))).replace("1.000000", "one", 1), "row 4: 'one' found, expected"),
    (pts_text(np.ones((9, 2))).replace("}", ""), r"no \{ and \} around the points"),
    ("", r"no \{ and \} around the points"),
    ("\udcff\udcfe{", "cannot be read as text"),
])  # fmt: skip
def test_a_bad_file_of_points_is_named_and_can_be_left_out(root, text, words):
    (root / "koala_1.pts").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=rf"koala_1\.pts: .*{words}"):
        load_dataset("animalweb", root)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(names(root, skip_broken=True)) == 3


def test_points_without_a_picture_are_named(root):
    (root / "koala_1.jpg").unlink()
    with pytest.raises(DataError, match=r"koala_1\.pts: no picture .*koala_1\.jpg"):
        load_dataset("animalweb", root)


def test_hidden_files_and_other_pictures_are_passed_over(root):
    (root / "._koala_1.pts").write_bytes(b"\x00\x05\x16\x07")
    (root / "cover.jpg").write_bytes(b"")
    (root / "lion_2.pts").rename(root / "lion_2.PTS")
    assert len(names(root)) == 4
