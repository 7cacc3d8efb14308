"""Few labelled photographs: which faces are labelled, and that no test face is among the unlabelled ones."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from dife_lightning.data.photos.face_sets import FaceSets
from dife_lightning.data.photos.few_labels import FewLabels
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.images import read_image
from dife_lightning.geometry.crops import CropOptions
from tests.photo_folder import write_faces

CROP = CropOptions("landmarks", 1.6)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two species with 6 faces in each table."""
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("dog", "cat", "cow"):
        write_faces(tmp_path / name, name, rng)
    return tmp_path


def domain(photos, name: str, file: str, **options: Any) -> dict[str, Any]:
    given = {"file": file, "left": "subject", "subject": "photo", **options}
    return {"dataset": "folder", "root": str(photos / name), "options": given}


def evaluation(photos, *names: str) -> FaceSets:
    domains = {name: {**domain(photos, name, "test.csv"), "val_options": {"file": "val.csv"}} for name in names}
    return FaceSets(domains, crop=CROP, size=32)


def make(photos, names=("dog", "cat"), **options: Any) -> FewLabels:
    domains = {name: domain(photos, name, "train.csv") for name in names}
    return FewLabels(domains, **{"labels": 4, "crop": CROP, "size": 32, **options})


def test_labels_are_spread_over_the_domains_and_all_other_faces_are_unlabelled(photos):
    faces = make(photos, labels=5).faces()
    labelled = [face.name for face in faces.labelled]
    assert sorted(name.split("/")[0] for name in labelled) == ["cat", "cat", "dog", "dog", "dog"]
    everything = {f"{name}/train{k}" for name in ("dog", "cat") for k in range(6)}
    assert set(labelled) | set(faces.names) == everything
    assert not set(labelled) & set(faces.names)
    assert faces.scheme.landmarks == ("left_eye", "right_eye", "nose", "left_ear", "right_ear")
    assert faces.facts["labelled"] == {"dog": 3, "cat": 2}
    again = [face.name for face in make(photos, labels=5, seed=1).faces().labelled]
    assert again != labelled  # another seed labels others


def test_the_points_of_labelled_faces_are_where_the_picture_has_them(photos):
    path = photos / "dog/train.csv"
    rows = path.read_text().splitlines()
    one = rows[1].split(",")
    one[4:] = ["58.0", "40.0", "32.0", "41.0", "45.0", "56.0", "60.0", "26.0", "", ""]  # an ear is not labelled
    path.write_text("\n".join([rows[0], ",".join(one)]))
    face = make(photos, names=("dog",), labels=1, unlabelled_batch=0).faces().labelled[0]
    assert face.visible.tolist() == [True, True, True, True, False]
    # eyes, nose and the left ear: 28 px wide, 30 px high, so the side is 48 px around their mean
    known = np.array([[58, 40], [32, 41], [45, 56], [60, 26]], float)
    expected = (known - known.mean(0) + 24) * 32 / 48 - 0.5
    np.testing.assert_allclose(face.points[:4], expected, atol=0.01)


def test_unlabelled_faces_are_whole_pictures_unless_crops_are_by_the_box(photos):
    data = make(photos, keep=False)
    faces = data.faces()
    assert faces.pool is not None
    name = faces.names[0]
    species, _, face = name.partition("/")
    whole = read_image(photos / species / "images" / f"{face}.png")
    image = faces.pool[0].image
    assert image.shape == (32, 32, 3)
    assert abs(float(image.mean()) - float(whole.mean())) < 2
    np.testing.assert_allclose(faces.pool[0].crop.picture_points(np.array([[-0.5, 31.5]])), [[-0.5, 89.5]], atol=1e-6)


def test_no_test_face_is_unlabelled_neither_by_name_nor_by_content(photos, capsys):
    shutil.copy(photos / "dog/images/test2.png", photos / "dog/images/train3.png")  # a test picture as a train picture
    (photos / "more").mkdir()
    shutil.copy(photos / "cat/images/test1.png", photos / "more/found.png")
    shutil.copy(photos / "cat/images/val1.png", photos / "more/also found.png")
    shutil.copy(photos / "cat/images/train1.png", photos / "more/other.png")
    options = {
        "evaluation": evaluation(photos, "dog", "cat"),
        "pool": {"dog": domain(photos, "dog", "test.csv"), "cow": domain(photos, "cow", "train.csv")},
        "folders": {"more": str(photos / "more")},
        "labels": 2,
    }
    data = make(photos, **options)
    names = set(data.faces().names)
    assert not [name for name in names if "test" in name or "found" in name]
    assert "dog/train3" not in names
    assert {f"cow/train{k}" for k in range(6)} <= names
    facts = data.faces().facts
    assert (facts["unlabelled"], facts["transductive"]) == ("train_only", False)
    assert (facts["test_by_name"], facts["test_by_content"]) == (6, 3)
    assert "9 test faces (6 by name, 3 by content) removed" in capsys.readouterr().err
    every = make(photos, **options, unlabelled="all")
    assert {f"dog/test{k}" for k in (0, 1, 3, 4, 5)} | {"more/found.png"} <= set(every.faces().names)
    assert len({"dog/test2", "dog/train3"} & set(every.faces().names)) == 1  # one picture
    assert every.faces().facts["transductive"] is True


def test_a_picture_that_is_there_twice_is_used_once(photos, capsys):
    (photos / "more").mkdir()
    for name in ("a", "b"):
        shutil.copy(photos / "cow/images/train1.png", photos / f"more/{name}.png")
    names = make(photos, folders={"more": str(photos / "more")}).faces().names
    assert len([name for name in names if name.startswith("more/")]) == 1
    assert "1 face left out that others equal" in capsys.readouterr().err


def test_no_other_photo_of_an_evaluated_animal_is_labelled(photos, capsys):
    path = photos / "dog/train.csv"
    rows = [row.split(",") for row in path.read_text().splitlines()]
    for row, animal in zip(rows[1:], ["test1", "test1", "val0", "rex", "rex", "ann"], strict=True):
        row[3] = animal  # test1 and val0 are also animals of the evaluation
    path.write_text("\n".join(",".join(row) for row in rows))
    data = make(photos, names=("dog",), labels=3, evaluation=evaluation(photos, "dog"))
    assert {face.name for face in data.faces().labelled} == {f"dog/train{k}" for k in (3, 4, 5)}
    assert "dog: 3 faces of subjects of the validation or test not labelled" in capsys.readouterr().err


def test_faces_that_cannot_be_used_are_named(photos, capsys):
    path = photos / "dog/train.csv"
    rows = [row.split(",") for row in path.read_text().splitlines()]
    rows[3][4] = "900"
    path.write_text("\n".join(",".join(row) for row in rows))
    faces = make(photos, names=("dog",), labels=None, unlabelled_batch=0).faces
    assert "dog/train2" not in {face.name for face in faces().labelled}
    assert "dog: landmarks of 1 face cannot be used: train2 (a point outside the picture)" in capsys.readouterr().err


@pytest.mark.parametrize("moved", [0, 5])
def test_a_labelled_picture_that_is_there_twice_is_used_once_or_refused(photos, capsys, moved):
    shutil.copy(photos / "dog/images/train0.png", photos / "dog/images/copy.png")
    path = photos / "dog/train.csv"
    rows = path.read_text().splitlines()
    again = rows[1].replace("train0", "copy").split(",")
    again[4] = str(float(again[4]) + moved)
    path.write_text("\n".join([*rows, ",".join(again)]))
    data = make(photos, names=("dog",), labels=None, crop=CropOptions("whole"), unlabelled_batch=0)
    if moved:
        with pytest.raises(
            DataError, match=r"dog/(train0|copy) and dog/(copy|train0) show the same part of one picture"
        ):
            data.faces()
    else:
        assert len(data.faces().labelled) == 6
        assert "taken once" in capsys.readouterr().err


def test_boxed_faces_of_equal_pictures_are_one_face(photos, capsys):
    """Two faces of one picture are two faces; an equal picture with the same boxes adds none."""
    for name in ("one", "two"):
        shutil.copy(photos / "dog/images/train0.png", photos / f"dog/images/{name}.png")
    head = "image,name,box_x0,box_y0,box_x1,box_y1," + ",".join(
        f"{point}_{axis}" for point in ("left_eye", "nose") for axis in "xy"
    )
    rows = [
        f"images/{name}.png,{name}{k},{x},{x},{x + 40},{x + 40},{x + 20},{x + 9},{x + 20},{x + 20}"
        for name in ("one", "two")
        for k, x in enumerate((0, 45))
    ]
    (photos / "dog/boxed.csv").write_text("\n".join([head, *rows]))
    given = {"dataset": "folder", "root": str(photos / "dog"), "options": {"file": "boxed.csv"}}
    faces = FewLabels({"dog": given}, labels=1, crop=CropOptions("box"), size=32).faces()
    assert len(faces.labelled) == len(faces.names) == 1
    assert faces.labelled[0].name[-1] != faces.names[0][-1]
    assert "2 faces left out that others equal" in capsys.readouterr().err


def test_faces_without_a_box_have_the_plain_crop_as_their_box(photos):
    data = evaluation(photos, "dog")
    data.setup("test")
    face = data.test_sets[0][0]
    np.testing.assert_allclose(face.box, [-0.5, -0.5, 31.5, 31.5], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"labels": 12}, DataError, "no unlabelled face: all faces are labelled or evaluated"),
        ({"labels": 1}, ConfigError, "labels=1 for 2 domains"),
        ({"labels": 0}, ConfigError, "labels"),
        ({"unlabelled": "some"}, ConfigError, "unlabelled"),
        ({"folders": {"more": "nowhere"}}, DataError, "nowhere"),
        ({"landmarks": "chin"}, ConfigError, "chin"),
    ],
)
def test_what_cannot_be_used_is_said(photos, options, error, text):
    with pytest.raises(error, match=text):
        make(photos, **options).faces()


def test_more_labels_than_there_are_takes_all_and_says_so(photos, capsys):
    data = make(photos, labels=40, pool={"cow": domain(photos, "cow", "train.csv")})
    assert len(data.faces().labelled) == 12
    assert "labels: 40 asked for, 12 usable" in capsys.readouterr().err
