"""Predictions on photographs are of the original photo, whatever was cut out of it and however it is stored."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dife_lightning.callbacks.prediction_writer import PredictionWriter
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.data.photos.unlabelled import UnlabelledPairs
from dife_lightning.datasets import load_dataset
from dife_lightning.datasets.writing.forms import convert
from dife_lightning.errors import ConfigError
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.methods._base import EmbedderModule, MatcherModule
from dife_lightning.methods.mean_shape import MeanShape
from dife_lightning.viz.landmarks import LEFT, OTHER, RIGHT
from tests.fake_faces import BLUE, GREEN, RED

#: Width and height of the photos as viewers show them, and how each is stored.
PHOTOS = (((160, 130), 1), ((130, 210), 6), ((200, 180), 3), ((150, 170), 8))
STORED = {1: 0, 3: 2, 6: 1, 8: 3}  # quarter turns to the left that give the stored picture


class DotFinder(MatcherModule):
    """Finds the three coloured dots in the target image by their colour alone."""

    def transfer_batch(self, batch, matching=None):
        images = (batch.target_image + 1) * 127.5
        points = torch.zeros_like(batch.target_points)
        for k, color in enumerate((RED, BLUE, GREEN)):
            near = (images - torch.tensor(color)[:, None, None]).abs().sum(1) < 120
            for b, mask in enumerate(near):
                y, x = mask.nonzero().float().mean(0)
                points[b, 9 + k] = torch.stack((x, y))
        return points


def place(number: int) -> np.ndarray:
    """Return left eye, right eye and nose of photo ``number``, whole pixels of the shown picture."""
    (width, height), _ = PHOTOS[number % len(PHOTOS)]
    return np.array([width // 2, height // 2]) + np.array([[-16, 3 - number], [14, number], [number, 20]])


def write_photos(folder, count):
    (folder / "photos").mkdir(parents=True)
    rows = ["image,name,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4"]
    for number in range(count):
        (width, height), orientation = PHOTOS[number % len(PHOTOS)]
        image = np.full((height, width, 3), 120, np.uint8)
        for (x, y), color in zip(place(number), (RED, BLUE, GREEN), strict=True):
            image[y - 2 : y + 3, x - 2 : x + 3] = color
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(np.rot90(image, STORED[orientation]))
        Image.fromarray(stored).save(folder / "photos" / f"{number}.png", exif=exif)
        numbers = ",".join(f"{x},{y}" for x, y in place(number))
        rows.append(f"photos/{number}.png,face {number},{numbers},,,,")
    (folder / "points.csv").write_text("\n".join(rows))


@pytest.fixture
def predicted(trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    for name in ("human", "dog"):
        write_photos(tmp_path / name, 4)

    def run(crop):
        domains = {
            name: {"dataset": "folder", "root": str(tmp_path / name), "options": {"scheme": "mafl-5"}}
            for name in ("human", "dog")
        }
        data = FacePairs(domains, crop=crop, size=64, count=4, batch_size=3)
        trainer(PredictionWriter()).predict(DotFinder(), datamodule=data)
        with open(tmp_path / "keypoints.csv", newline="") as file:
            return json.loads((tmp_path / "keypoints.json").read_text()), list(csv.DictReader(file))

    return run


@pytest.mark.parametrize(
    "crop",
    [
        CropOptions(),
        CropOptions(factor=3.4, shift=0.15, padding="reflect"),
        CropOptions(rule="whole"),
    ],
    ids=["landmarks", "moved", "whole"],
)
def test_points_and_sizes_are_those_of_the_original_photo(predicted, crop):
    for _ in ("made", "read from the cache"):
        document, rows = predicted(crop)
        images = {image["id"]: image for image in document["images"]}
        assert {image["file_name"] for image in images.values()} == {f"photos/{number}.png" for number in range(4)}
        for annotation in document["annotations"]:
            number = int(annotation["face"].split()[1])
            image = images[annotation["image_id"]]
            assert image["file_name"] == f"photos/{number}.png"
            assert (image["width"], image["height"]) == PHOTOS[number][0]
            found = np.reshape(annotation["keypoints"], (3, 3))[:, :2]
            np.testing.assert_allclose(found, place(number), atol=1.3)
            lines = [row for row in rows if row["target"] == annotation["face"]]
            assert {(row["file_name"], int(row["width"]), int(row["height"])) for row in lines} == {
                (image["file_name"], image["width"], image["height"])
            }
            np.testing.assert_allclose([(float(row["x"]), float(row["y"])) for row in lines], found, atol=1e-3)


class Colors(EmbedderModule):
    """The colour of each pixel is its embedding."""

    def embed(self, images):
        return images


@pytest.fixture
def carried(trainer, tmp_path, monkeypatch):
    """A labelled face carried to four photos without labels."""
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    for name in ("human", "dog"):
        write_photos(tmp_path / name, 4)
    source = {"dataset": "folder", "root": str(tmp_path / "human"), "options": {"scheme": "mafl-5"}}
    options = {"face": "face 1", "protocol": "left_eye,right_eye,nose", "size": 96}
    data = UnlabelledPairs(source, str(tmp_path / "dog"), crop=CropOptions(factor=4), **options)
    trainer(PredictionWriter(overlays=True)).predict(Colors(), datamodule=data)
    return json.loads((tmp_path / "keypoints.json").read_text())


def test_landmarks_are_carried_to_photos_without_labels(carried):
    images = {image["id"]: image for image in carried["images"]}
    assert sorted(image["file_name"] for image in images.values()) == [f"photos/{number}.png" for number in range(4)]
    assert len(carried["annotations"]) == 4
    for annotation in carried["annotations"]:
        number = int(images[annotation["image_id"]]["file_name"][7])
        (width, height), _ = PHOTOS[number]
        found = np.reshape(annotation["keypoints"], (3, 3))
        np.testing.assert_allclose(found[:, :2], place(number), atol=4)  # a dot is 5 px wide, a cell up to 2.2 px
        assert found[:, 2].tolist() == [2, 2, 2]
        assert (annotation["bbox"], annotation["area"]) == ([0, 0, width, height], width * height)
        assert (annotation["iscrowd"], annotation["num_keypoints"]) == (0, 3)
        assert annotation["keypoint_scores"] == pytest.approx([1, 1, 1], abs=0.02)  # the same colours
        assert annotation["score"] == pytest.approx(np.mean(annotation["keypoint_scores"]), abs=1e-4)


def test_the_box_is_the_part_of_the_photo_that_was_looked_at(predicted):
    document, _ = predicted(CropOptions(rule="landmarks", factor=2.0))
    images = {image["id"]: image for image in document["images"]}
    for annotation in document["annotations"]:
        points = place(int(annotation["face"].split()[1]))
        centre, side = points.mean(0), 2 * np.ptp(points, axis=0).max()
        image, (x, y, width, height) = images[annotation["image_id"]], annotation["bbox"]
        low, high = centre + 0.5 - side / 2, centre + 0.5 + side / 2  # the edges of pixels, counted from the first's
        expected = np.clip([low, high], 0, (image["width"], image["height"]))
        np.testing.assert_allclose([[x, y], [x + width, y + height]], expected, atol=0.01)
        assert "score" not in annotation  # this method has no embedding


def test_cocos_own_code_opens_and_evaluates_the_file(carried, tmp_path):
    truth = COCO(str(tmp_path / "keypoints.json"))
    assert len(truth.getAnnIds(imgIds=[1], iscrowd=False)) == 1
    results = [
        {key: annotation[key] for key in ("image_id", "category_id", "keypoints", "score")}
        for annotation in carried["annotations"]
    ]
    scored = COCOeval(truth, truth.loadRes(results), "keypoints")
    scored.params.kpt_oks_sigmas = np.full(3, 0.05)
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert scored.stats[0] == pytest.approx(1)


def test_our_own_reader_reads_the_file(carried, tmp_path):
    faces = load_dataset("coco-keypoints", tmp_path / "dog", file=tmp_path / "keypoints.json")
    assert len(faces) == 4
    assert faces.scheme.landmarks == ("left_eye", "right_eye", "nose")
    for k, annotation in enumerate(carried["annotations"]):
        found = faces.upright(k)
        np.testing.assert_allclose(found.points, np.reshape(annotation["keypoints"], (3, 3))[:, :2], atol=1e-3)
        assert found.image.name == carried["images"][annotation["image_id"] - 1]["file_name"][7:]
        np.testing.assert_allclose(found.box[2:], annotation["bbox"][2:], atol=1)


@pytest.mark.parametrize("form", ["label-studio", "labelme", "cvat", "deeplabcut", "yolo-pose", "csv", "coco"])
def test_every_tool_can_correct_the_file(carried, tmp_path, form):
    (tmp_path / "keypoints.json").rename(tmp_path / "dog" / "keypoints.json")
    faces = load_dataset("coco-keypoints", tmp_path / "dog", file="keypoints.json")
    options = {"file": "annotations.json"} if form == "coco" else {}
    convert(faces, tmp_path / "corrected", to=form)
    reader = {"csv": "folder", "coco": "coco-keypoints"}.get(form, form)
    again = load_dataset(reader, tmp_path / "corrected", **options)
    expected, found = (
        sorted(np.concatenate([data.upright(k).points for k in range(len(data))]).tolist()) for data in (faces, again)
    )
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_mean_shape_needs_labelled_targets(trainer, tmp_path):
    write_photos(tmp_path / "human", 1)
    source = {"dataset": "folder", "root": str(tmp_path / "human"), "options": {"scheme": "mafl-5"}}
    data = UnlabelledPairs(source, str(tmp_path / "human"), pair="human+dog", protocol="3-point")
    with pytest.raises(ConfigError, match="no landmarks of dog are known"):  # not those of the embedded world's dogs
        trainer(PredictionWriter()).predict(MeanShape(), datamodule=data)


def test_two_faces_of_a_photo_share_its_image_entry(trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "human", 1)
    (tmp_path / "boxes.csv").write_text(
        "image,box_x,box_y,box_w,box_h\nphotos/0.png,50,40,60,60\nphotos/0.png,40,30,90,90\n"
    )
    source = {"dataset": "folder", "root": str(tmp_path / "human"), "options": {"scheme": "mafl-5"}}
    options = {"boxes": str(tmp_path / "boxes.csv"), "protocol": "left_eye,right_eye,nose", "size": 96}
    data = UnlabelledPairs(source, str(tmp_path / "human"), crop=CropOptions(factor=4), **options)
    trainer(PredictionWriter()).predict(Colors(), datamodule=data)
    document = json.loads((tmp_path / "keypoints.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["photos/0.png"]
    assert [one["image_id"] for one in document["annotations"]] == [1, 1]
    assert [one["face"] for one in document["annotations"]] == ["photos/0.png#1", "photos/0.png#2"]
    assert [one["bbox"] for one in document["annotations"]] == [[50.5, 40.5, 60, 60], [40.5, 30.5, 90, 90]]
    for annotation in document["annotations"]:
        found = np.reshape(annotation["keypoints"], (3, 3))[:, :2]
        np.testing.assert_allclose(found, place(0), atol=4)


def test_overlays_are_the_original_photos_with_the_points(carried, tmp_path):
    for number, ((width, height), _) in enumerate(PHOTOS):
        drawn = np.asarray(Image.open(tmp_path / "overlays" / "photos" / f"{number}.png.jpg")).astype(int)
        assert drawn.shape == (height, width, 3)
        for image in (found for found in carried["images"] if found["file_name"] == f"photos/{number}.png"):
            annotation = next(one for one in carried["annotations"] if one["image_id"] == image["id"])
            for (x, y, _), color in zip(np.reshape(annotation["keypoints"], (3, 3)), (LEFT, RIGHT, OTHER), strict=True):
                assert np.abs(drawn[round(y), round(x)] - color).max() < 90  # JPEG


def test_photos_of_one_name_in_two_folders_are_told_apart(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    for name in ("human", "dog", "cat"):
        write_photos(tmp_path / name, 4)
    domains = {
        name: {"dataset": "folder", "root": str(tmp_path / name), "options": {"scheme": "mafl-5"}}
        for name in ("human", "dog", "cat")
    }
    data = FacePairs(domains, ["human+dog", "human+cat"], size=64, count=4)
    trainer(PredictionWriter()).predict(DotFinder(), datamodule=data)
    document = json.loads((tmp_path / "keypoints.json").read_text())
    names = [image["file_name"] for image in document["images"]]
    assert sorted(names) == [f"{name}/photos/{number}.png" for name in ("cat", "dog") for number in range(4)]
    assert f"file names are relative to {tmp_path}" in capsys.readouterr().err
