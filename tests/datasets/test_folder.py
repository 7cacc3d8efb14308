from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.landmark_sets import set_points, shared_points
from dife_lightning.faces.schemes import get_scheme
from tests.datasets.layouts import draw_face, write_folder

NINE = list(get_scheme("animalweb-9").landmarks)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (50, 40)).save(tmp_path / name)
    return tmp_path


def load(root: Path, *lines: str, scheme: str = "mine", **options):
    (root / "points.csv").write_text("\n".join(lines))
    return load_dataset("folder", root, scheme=scheme, **options)


def test_numbered_columns_are_points_in_any_order(root):
    (face,) = load(root, "photographer,y1,x1,image,x0,y0", "Anna,4,3,a.png,1.5,2").annotations
    assert face.points.tolist() == [[1.5, 2], [3, 4]]
    assert (face.name, face.box, face.group) == ("a.png", None, "")
    assert face.source == f"{root}/points.csv, row 2"


def test_named_columns_of_an_unknown_scheme_keep_their_order(root):
    (face,) = load(root, "image,nose_x,nose_y,chin_x,chin_y", "a.png,1,2,3,4").annotations
    assert face.points.tolist() == [[1, 2], [3, 4]]


def test_named_columns_of_a_known_scheme_are_put_in_its_order(tmp_path):
    face = draw_face("animalweb-9")
    write_folder(tmp_path, [face], landmarks=NINE)
    text = (tmp_path / "points.csv").read_text()
    (tmp_path / "points.csv").write_text(text.replace("nose_x", "?").replace("lip_upper_x", "nose_x")
                                         .replace("?", "lip_upper_x").replace("nose_y", "?")
                                         .replace("lip_upper_y", "nose_y").replace("?", "lip_upper_y"))  # fmt: skip
    (found,) = load_dataset("folder", tmp_path, scheme="animalweb-9").annotations
    order = [0, 1, 2, 3, 7, 5, 6, 4, 8]
    np.testing.assert_allclose(found.points, face.points[order])


def test_a_name_that_the_scheme_does_not_have_is_told(root):
    with pytest.raises(DataError, match=r"row 1: scheme 'animalweb-9' has no point 'noes'. Did you mean 'nose'"):
        load(root, "image,noes_x,noes_y", "a.png,1,2", scheme="animalweb-9")
    with pytest.raises(DataError, match=r"row 1 has 1 points, scheme 'animalweb-9' has 9"):
        load(root, "image,tail_x,tail_y", "a.png,1,2", scheme="animalweb-9")


def test_a_wrong_number_of_points_is_told(root):
    with pytest.raises(DataError, match=r"row 1 has 2 points, scheme 'mafl-5' has 5"):
        load(root, "image,x0,y0,x1,y1", "a.png,1,2,3,4", scheme="mafl-5")


def test_empty_cells_are_points_that_are_not_labelled(root):
    (face,) = load(root, "image,x0,y0,x1,y1", "a.png,,,3,4").annotations
    assert face.visible.tolist() == [False, True]


def test_a_picture_without_a_point_is_no_face_and_no_fault(root):
    dataset = load(root, "image,x0,y0", "a.png,,", "b.png,1,2")
    assert [face.name for face in dataset.annotations] == ["b.png"]
    assert (dataset.facts["unlabelled"], dataset.left_out) == (1, ())


def test_the_faces_of_a_picture_with_several_have_numbers_or_names(root, capsys):
    dataset = load(root, "image,x0,y0", "a.png,1,2", "b.png,5,6", "a.png,3,4")
    assert [face.name for face in dataset.annotations] == ["a.png#1", "b.png", "a.png#2"]
    assert "1 picture with several faces" in capsys.readouterr().err
    dataset = load(root, "image,name,x0,y0", "a.png,left,1,2", "a.png,right,3,4")
    assert [face["name"] for face in dataset] == ["left", "right"]
    with pytest.raises(DataError, match=r"row 3: this picture with the same points is listed twice \(first: 2\)"):
        load(root, "image,name,x0,y0", "a.png,left,1,2", "a.png,right,1,2")


def test_groups_are_chosen_one_or_several(root):
    lines = ("image,group,x0,y0", "a.png,fox,1,2", "b.png,owl,3,4")
    assert [face.group for face in load(root, *lines).annotations] == ["fox", "owl"]
    assert [face.name for face in load(root, *lines, group="owl").annotations] == ["b.png"]
    assert len(load(root, *lines, group=["owl", "fox"])) == 2
    with pytest.raises(ConfigError, match=r"unknown group 'cow'.*Known: fox, owl"):
        load(root, *lines, group="cow")


def test_groups_whose_names_are_numbers_may_be_given_as_numbers(root):
    lines = ("image,group,x0,y0", "a.png,1,1,2", "b.png,2,3,4")
    for group in (2, "2", [2]):
        assert [face.name for face in load(root, *lines, group=group).annotations] == ["b.png"]


@pytest.mark.parametrize(("header", "words"), [
    ("photographer,x0,y0", "no column 'image'. Known: photographer, x0, y0"),
    ("image,x0,y0,x1", "no column 'y1'"),
    ("image,x0,y0,y1", "no column 'x1'"),
    ("image,x0,y0,x2,y2", "no column 'x1'"),
    ("image,x2,y2", "no column 'x0'"),
    ("image,x1,y1,x3,y3", "no column 'x0'"),
    ("image,nose_x", "no column 'nose_y'"),
    ("image,x,y", "no points; expected columns x0, y0, ..."),
    ("image,x0,y0,x0", "column 'x0' is repeated"),
])  # fmt: skip
def test_a_missing_column_is_named(root, header, words):
    with pytest.raises(DataError, match=rf"points\.csv, row 1: {words}"):
        load(root, header, "a.png,1,2,3,4")


def test_a_number_that_is_far_too_great_takes_no_memory(root):
    tracemalloc.start()
    with pytest.raises(DataError, match="no column 'x1'"):
        load(root, "image,x0,y0,x1000000,y1000000", "a.png,1,2,3,4")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize(("row", "words"), [
    ("b.png,1", "2 cells, expected 3 as in row 1"),
    ("b.png,1,2,3", "4 cells, expected 3"),
    ("b.png,1,", "'' found, expected number 2 of 2; leave both empty"),
    ("b.png,x,2", "column x0 and its partner: 'x' found, expected number 1 of 2"),
    ("b.png,inf,2", "number 1 of 2 is inf"),
    ("b.png,1,nan", "number 2 of 2 is nan"),
    (",1,2", "no image, expected a path"),
    ("c.png,1,2", r"no picture .*c\.png"),
])  # fmt: skip
def test_a_bad_row_is_named_and_can_be_left_out(root, row, words):
    lines = ("image,x0,y0", "a.png,1,2", "", row)
    with pytest.raises(DataError, match=rf"points\.csv, row 4: .*{words}"):
        load(root, *lines)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(load(root, *lines, skip_broken=True)) == 1


def test_a_bad_box_is_named(root):
    lines = ("image,x0,y0,box_x0,box_y0,box_x1,box_y1", "a.png,1,2,,,,", "b.png,1,2,0,0,9,x")
    with pytest.raises(DataError, match="row 3: box: 'x' found, expected number 4 of 4"):
        load(root, *lines)
    assert load(root, *lines[:2]).annotations[0].box is None


def test_a_byte_order_mark_and_quotes_are_fine(root):
    (root / "my, own.png").write_bytes((root / "a.png").read_bytes())
    (face,) = load(root, '\ufeffimage,x0,y0', '"my, own.png", 1 ,2').annotations  # fmt: skip
    assert (face.name, face.points.tolist()) == ("my, own.png", [[1, 2]])


def test_points_just_outside_are_fine_and_far_outside_are_not(root):
    for x, y in ((-12, 20), (61, 51), (20, -12)):
        assert load(root, "image,x0,y0", f"a.png,{x},{y}")[0]["points"].tolist() == [[x, y]]
    for x, y in ((-14, 20), (63, 20), (20, 53), (20, -14)):
        with pytest.raises(DataError, match=rf"row 2: point 0 lies at \({x}, {y}\), far outside a\.png.* 50 x 40"):
            load(root, "image,x0,y0", f"a.png,{x},{y}")[0]
    assert load(root, "image,x0,y0,x1,y1", "a.png,,,1,1")[0]["points"].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(("mode", "suffix"), [
    ("L", "png"), ("LA", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("I;16", "png"), ("CMYK", "jpg"),
])  # fmt: skip
def test_pictures_of_all_modes_come_as_rgb(root, mode, suffix):
    grey = Image.new("L", (50, 40), 0)
    grey.paste(255, (10, 20, 13, 23))
    picture = grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    picture.save(root / f"m.{suffix}")
    item = load(root, "image,x0,y0", f"m.{suffix},11,21")[0]
    assert item["image"].shape == (40, 50, 3)
    assert item["image"].dtype == np.uint8
    assert item["image"][21, 11].min() > 200
    assert item["image"][21, 30].max() < 60


ANIMAL = (
    "image,photo,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,left_ear_x,left_ear_y,right_ear_x,right_ear_y",
    "a.png,one.jpg,30,10,12,11,20,20,33,5,9,6",  # seen from the front, the animal's own left is at the viewer's right
    "b.png,one.jpg,31,12,11,13,21,22,,,,",
)


def test_left_may_be_the_animals_own(root, capsys):
    viewer, own = (load(root, *ANIMAL, scheme=None, **o) for o in ({}, {"left": "subject"}))
    said = capsys.readouterr().err
    assert "left is taken as the viewer's (change it with --left subject, or --scheme FILE.yaml)" in said
    assert "left is taken as the face's own (change it with --scheme FILE.yaml)" in said
    for faces, left_eye in ((viewer, [30, 10]), (own, [12, 11])):
        points, _ = set_points(faces.annotations[0].points, faces.annotations[0].visible, faces.scheme, "3-point")
        assert points[0].tolist() == left_eye  # the protocol's left is the viewer's
    assert own.facts["left"] == "subject"


def test_points_of_a_file_may_be_those_of_other_schemes_under_other_names(root):
    options = {"left": "subject", "same_as": {"left_ear": "left_ear_base", "right_ear": "right_ear_base"}}
    scheme = load(root, *ANIMAL, scheme=None, **options).scheme
    protocol, (own, other) = shared_points([scheme, "animalpose-20"])
    animal_pose = get_scheme("animalpose-20").landmarks
    found = {scheme.landmarks[a]: animal_pose[b] for a, b in zip(own, other, strict=True)}
    assert found == {
        "left_eye": "left_eye", "right_eye": "right_eye", "nose": "nose",
        "left_ear": "left_ear_base", "right_ear": "right_ear_base",
    }  # fmt: skip
    assert len(protocol.landmarks) == 5


def test_a_column_may_be_named_as_that_of_the_subjects(root):
    faces = load(root, *ANIMAL, scheme=None, subject="photo")
    assert [face.subject for face in faces.annotations] == ["one.jpg", "one.jpg"]
    with pytest.raises(ConfigError, match=r"row 1: no column 'foto' for subjects. Did you mean 'photo'"):
        load(root, *ANIMAL, scheme=None, subject="foto")


@pytest.mark.parametrize(("lines", "options", "words"), [
    (ANIMAL, {"scheme": None, "left": "mine"}, "left is 'mine', expected viewer or subject"),
    (ANIMAL, {"scheme": None, "same_as": {"ear": "x"}}, "has no point 'ear'"),
    (("image,x0,y0", "a.png,1,2"), {"left": "subject"}, "left given, but the file does not name its points"),
    (ANIMAL, {"scheme": "animalpose-20", "left": "subject"}, "left given, but scheme 'animalpose-20' states it"),
])  # fmt: skip
def test_a_meaning_that_cannot_be_is_refused(root, lines, options, words):
    with pytest.raises(ConfigError, match=words):
        load(root, *lines, **options)
