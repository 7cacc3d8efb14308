"""COCO files: those of AP-10K and any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import SCHEMES
from tests.datasets.layouts import (
    AP10K_POINTS,
    Face,
    coco_content,
    draw_face,
    save_picture,
    write_ap10k,
    write_coco_keypoints,
)

FILE = "annotations/ap10k-test-split1.json"
OPTIONS = {"file": "annotations.json", "scheme": "animalweb-9"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dog, a cat that shows one eye, a jaguar to train, and two dogs in one picture."""
    one_eye = np.arange(17) != 1
    faces = [
        draw_face("ap10k-17", 0, group="dog"),
        draw_face("ap10k-17", 1, group="cat", visible=one_eye),
        draw_face("ap10k-17", 2, group="jaguar", split="train"),
        draw_face("ap10k-17", 3, group="dog", picture="pair"),
        draw_face("ap10k-17", 4, group="dog", picture="pair"),
    ]
    write_ap10k(tmp_path, faces)
    return tmp_path


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_animals_have_names_of_their_own_and_their_species_as_group(root):
    dataset = load_dataset("ap10k", root)
    assert [(face.name, face.group) for face in dataset.annotations] == [
        ("000000000001.jpg#1", "dog"), ("000000000002.jpg#2", "cat"), ("pair.jpg#3", "dog"), ("pair.jpg#4", "dog"),
    ]  # fmt: skip
    assert dataset.annotations[0].source.endswith("ap10k-test-split1.json, annotation 1")


def test_a_point_with_v_0_is_not_labelled(root):
    face = load_dataset("ap10k", root).annotations[1]
    assert face.visible.tolist() == [k != 1 for k in range(17)]
    assert face.points[1].tolist() == [0, 0]


def test_a_hidden_point_is_labelled(root):
    change(root / FILE, lambda content: content["annotations"][0]["keypoints"].__setitem__(2, 1))
    assert load_dataset("ap10k", root).annotations[0].visible.all()


@pytest.mark.parametrize(("species", "expected"), [("cat", 1), (24, 1), ("Dog", 3), (["cat", 8], 4), (None, 4)])
def test_species_are_chosen_by_name_or_number(root, species, expected):
    assert len(load_dataset("ap10k", root, species=species)) == expected


@pytest.mark.parametrize("species", ["jagual", 99])
def test_an_unknown_species_is_told_which_there_are(root, species):
    with pytest.raises(ConfigError, match=r"unknown species or category .*Known: .*jaguar \(26\)"):
        load_dataset("ap10k", root, species=species)


def test_needed_points_are_given_by_name_or_number(root):
    for needed in (["left_eye", "right_eye", "nose"], [0, 1, 2], ["right_eye"], "right_eye", 1):
        assert len(load_dataset("ap10k", root, needed=needed)) == 3
    assert len(load_dataset("ap10k", root, needed=["left_eye", 2])) == 4
    for wrong in ("right_ear", 17, -1):
        with pytest.raises(ConfigError, match=rf"unknown point '{wrong}' \(0 to 16\).*left_eye"):
            load_dataset("ap10k", root, needed=[wrong])


def test_splits_and_folds_are_files(root):
    assert [len(load_dataset("ap10k", root, split=split, fold=3)) for split in ("train", "test")] == [1, 4]
    with pytest.raises(ConfigError, match=r"unknown fold 4. Known: 1, 2, 3"):
        load_dataset("ap10k", root, fold=4)
    with pytest.raises(DataError, match="no usable faces"):
        load_dataset("ap10k", root, split="val")


def test_an_animal_without_any_label_is_no_face_and_no_fault(root):
    change(root / FILE, lambda content: content["annotations"][0].update(keypoints=[0] * 51))
    dataset = load_dataset("ap10k", root)
    assert len(dataset) == dataset.facts["faces"] == 3
    assert not dataset.left_out
    assert dataset.facts["unlabelled"] == 1


@pytest.mark.parametrize(("edit", "words"), [
    (lambda a: a.update(keypoints=a["keypoints"][:-1]), r"keypoints: 50 values, expected 51 numbers"),
    (lambda a: a["keypoints"].__setitem__(0, "x"), "keypoints: 51 values, expected 51 numbers"),
    (lambda a: a["keypoints"].__setitem__(6, float("nan")), r"point 2 is \(nan, .*expected finite"),
    (lambda a: a["keypoints"].__setitem__(7, float("inf")), r"point 2 is \(.*, inf\), expected finite"),
    (lambda a: a["keypoints"].__setitem__(8, float("nan")), "visibility of point 2 is nan, expected 0, 1 or 2"),
    (lambda a: a.pop("image_id"), "no 'image_id'"),
    (lambda a: a.update(image_id=7), "image_id 7 is no picture of the file"),
    (lambda a: a.update(image_id=[101]), "image_id is a list, expected a number"),
    (lambda a: a.update(id={}), "id is a dict, expected a number"),
    (lambda a: a.update(bbox=[1, 2, 3]), r"bbox is \[1, 2, 3\], expected x, y, width, height"),
])  # fmt: skip
def test_a_bad_annotation_is_named_and_can_be_left_out(root, edit, words):
    change(root / FILE, lambda content: edit(content["annotations"][1]))
    with pytest.raises(DataError, match=rf"split1\.json, annotation (2|{{}}): .*{words}"):
        load_dataset("ap10k", root)
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert len(load_dataset("ap10k", root, skip_broken=True)) == 3


def test_an_annotation_twice_is_noticed(root):
    change(root / FILE, lambda content: content["annotations"].append(content["annotations"][0]))
    with pytest.raises(DataError, match=r"annotation 1: '000000000001\.jpg#1' is listed twice"):
        load_dataset("ap10k", root)
    change(root / FILE, lambda content: content["annotations"][-1].update(id=77))
    with pytest.raises(
        DataError, match=r"annotation 77: this picture with the same points is listed twice \(first: 1\)"
    ):
        load_dataset("ap10k", root)


def test_a_category_of_another_form_is_none(root):
    change(root / FILE, lambda content: content["annotations"][0].update(category_id=[8]))
    change(root / FILE, lambda content: content["categories"].append({"id": [], "name": "x", "keypoints": 3}))
    assert [face.group for face in load_dataset("ap10k", root).annotations] == ["", "cat", "dog", "dog"]
    assert len(load_dataset("ap10k", root, species="dog")) == 2


@pytest.mark.parametrize(("text", "words"), [
    ("{", "row 1: not JSON"),
    ("[]", "no list 'images'"),
    ('{"images": []}', "no list 'annotations'"),
    ('{"images": [{"id": 1}, {"id": 1}], "annotations": []}', "2 images with 1 different ids"),
    ('{"images": [{"id": [1]}], "annotations": []}', "1 images with 0 different ids"),
])  # fmt: skip
def test_what_is_no_coco_file_is_refused(root, text, words):
    (root / FILE).write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_dataset("ap10k", root)
    assert "ap10k-test-split1.json" in str(caught.value)


def test_a_file_of_another_scheme_is_refused(tmp_path):
    write_coco_keypoints(tmp_path, [draw_face("animalweb-9")])
    assert load_dataset("coco-keypoints", tmp_path, file="annotations.json", scheme="mine").scheme.name == "mine"
    with pytest.raises(DataError, match=r"annotations\.json has 9 points, scheme 'wflw-98' has 98"):
        load_dataset("coco-keypoints", tmp_path, file="annotations.json", scheme="wflw-98")


def test_a_scheme_that_was_added_to_the_tables_is_checked_like_the_others(tmp_path, monkeypatch):
    monkeypatch.setitem(SCHEMES, "fox-8", replace(SCHEMES["animalweb-9"], name="fox-8", landmarks=tuple("abcdefgh")))
    write_coco_keypoints(tmp_path, [draw_face("animalweb-9")])
    with pytest.raises(DataError, match=r"has 9 points, scheme 'fox-8' has 8"):
        load_dataset("coco-keypoints", tmp_path, file="annotations.json", scheme="fox-8")


def test_categories_and_folders_of_pictures_are_options(tmp_path):
    faces = [draw_face("animalweb-9", 0, group="owl"), draw_face("animalweb-9", 1, group="fox")]
    write_coco_keypoints(tmp_path / "in", faces)
    (face,) = load_dataset(
        "coco-keypoints", tmp_path, file="in/annotations.json", scheme="animalweb-9", images="in", category="fox"
    ).annotations
    assert (face.group, face.image) == ("fox", tmp_path / "in/0001.png")


# How a stored picture is got from the one that is shown.
STORE = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: np.rot90,
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


def store(path: Path, stored: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    save_picture(path, np.ascontiguousarray(stored), exif=exif)


def on_marks(item: dict[str, Any]) -> bool:
    x, y = np.rint(item["points"][item["visible"]]).astype(int).T
    return bool(item["image"][y, x].min() > 200)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_of_the_turned_picture_stay(tmp_path, orientation):
    face = draw_face("animalweb-9", size=(96, 128))
    write_coco_keypoints(tmp_path, [face])
    store(tmp_path / "0000.png", STORE[orientation](face.image), orientation)
    dataset = load_dataset("coco-keypoints", tmp_path, **OPTIONS)
    assert np.array_equal(dataset[0]["image"], face.image)
    np.testing.assert_allclose(dataset[0]["points"], face.points)


@pytest.mark.parametrize("orientation", range(5, 9))
def test_points_of_the_stored_picture_are_turned_with_it(tmp_path, orientation):
    shown = draw_face("animalweb-9", size=(96, 128)).image
    stored = draw_face("animalweb-9", size=(128, 96), visible=np.arange(9) != 4)
    write_coco_keypoints(tmp_path, [stored])
    store(tmp_path / "0000.png", stored.image, orientation)
    dataset = load_dataset("coco-keypoints", tmp_path, **OPTIONS)
    item, face = dataset[0], dataset.upright(0)
    assert item["image"].shape == shown.shape
    assert on_marks(item)
    assert item["points"][4].tolist() == [0, 0]
    assert np.array_equal(face.points, item["points"])
    seen = face.points[face.visible]
    np.testing.assert_allclose(face.box, [*seen.min(0), *seen.max(0)])
    np.testing.assert_allclose(dataset.annotations[0].points[0], stored.points[0])


@pytest.mark.parametrize(("orientation", "size"), [(2, (96, 128)), (3, (96, 128)), (4, (96, 128)), (6, (96, 96))])
def test_where_the_size_cannot_tell_the_turned_picture_is_assumed(tmp_path, orientation, size):
    face = draw_face("animalweb-9", size=size)
    write_coco_keypoints(tmp_path, [face])
    store(tmp_path / "0000.png", STORE[orientation](face.image), orientation)
    assert on_marks(load_dataset("coco-keypoints", tmp_path, **OPTIONS)[0])


def test_without_stated_sizes_the_turned_picture_is_assumed(tmp_path):
    face = draw_face("animalweb-9", size=(96, 128))
    write_coco_keypoints(tmp_path, [face])
    change(tmp_path / "annotations.json", lambda content: content["images"][0].pop("width"))
    store(tmp_path / "0000.png", STORE[6](face.image), 6)
    assert on_marks(load_dataset("coco-keypoints", tmp_path, **OPTIONS)[0])


def test_a_picture_of_another_size_than_stated_is_refused(tmp_path):
    write_coco_keypoints(tmp_path, [draw_face("animalweb-9")])
    save_picture(tmp_path / "0000.png", draw_face("animalweb-9", size=(96, 128)).image)
    dataset = load_dataset("coco-keypoints", tmp_path, **OPTIONS)
    for read in (dataset.__getitem__, dataset.upright):
        with pytest.raises(DataError, match=r"annotation 1: .*0000\.png is 128 x 96, the annotation is of 80 x 96"):
            read(0)


@pytest.mark.parametrize(("folder", "scheme", "count"), [
    ("ap10k", "ap10k-17", 2), ("wflw", "wflw-98", 4), ("300w", "300w-68", 2), ("animalpose", "animalpose-20", 2),
])  # fmt: skip
def test_real_files_converted_by_others_are_read(shared, folder, scheme, count):
    root = shared(f"samples/{folder}")
    dataset = load_dataset("coco-keypoints", root, file=f"test_{folder}.json", scheme=scheme)
    content = json.loads((root / f"test_{folder}.json").read_text())
    files = {image["id"]: image["file_name"] for image in content["images"]}
    assert len(dataset) == count
    for item, entry, face in zip(dataset, content["annotations"], dataset.annotations, strict=True):
        triples = np.array(entry["keypoints"]).reshape(-1, 3)
        assert np.array_equal(item["visible"], triples[:, 2] > 0)
        np.testing.assert_allclose(item["points"], triples[:, :2] * (triples[:, 2:] > 0), rtol=1e-6)
        assert item["name"] == f"{files[entry['image_id']]}#{entry['id']}"
        height, width = item["image"].shape[:2]
        seen = item["points"][item["visible"]]
        assert (seen >= -0.5).all()
        assert (seen < [width, height]).all()
        np.testing.assert_allclose(face.box[2:] - face.box[:2], entry["bbox"][2:], rtol=1e-4)


def test_real_ap10k_files_in_the_distributed_tree(shared, tmp_path):
    samples = shared("samples/ap10k")
    (tmp_path / "annotations").mkdir()
    (tmp_path / FILE).write_bytes((samples / "test_ap10k.json").read_bytes())
    (tmp_path / "data").symlink_to(samples)
    dataset = load_dataset("ap10k", tmp_path, needed=["left_eye", "nose"])
    assert [face.group for face in dataset.annotations] == ["jaguar", "antelope"]
    assert dataset[0]["points"][0].tolist() == [134, 415]
    with pytest.raises(DataError, match="no usable faces"):
        load_dataset("ap10k", tmp_path, needed=["left_eye", "right_eye"])


def test_the_writer_agrees_with_the_real_files(shared):
    real = json.loads(shared("samples/ap10k/test_ap10k.json").read_text())
    face: Face = draw_face("ap10k-17")
    made = coco_content([face], ["a.jpg"], {"dog": 8}, AP10K_POINTS)
    for key in ("images", "annotations", "categories"):
        assert set(made[key][0]) - set(real[key][0]) == set()
    assert real["categories"][0]["keypoints"] == AP10K_POINTS
