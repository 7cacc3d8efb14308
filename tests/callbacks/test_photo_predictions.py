"""Predictions on photographs are of the original photo, whatever was cut out of it and however it is stored."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.callbacks.prediction_writer import PredictionWriter
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.methods._base import MatcherModule
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
