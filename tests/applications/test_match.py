"""Dense matches of photos whose correspondence is known: a picture, and the same one turned into another."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import dife_lightning as dl
from dife_lightning.applications import FaceCrop, FaceFinder, crop_face, match
from dife_lightning.applications.dense_match import matched_faces
from dife_lightning.cli.main import main
from dife_lightning.errors import AssetError, ConfigError, DataError
from dife_lightning.geometry.crops import Square


def waves(colors: torch.Tensor) -> torch.Tensor:
    """Embed red and green (B, 3, h, w) in [-1, 1] so that only equal ones are alike."""
    angles = torch.cat([colors[:, :2] * torch.pi * k for k in (0.5, 1, 2, 4, 8)], dim=1)
    return torch.nn.functional.normalize(torch.cat((angles.sin(), angles.cos()), dim=1), dim=1)


class Colors:
    """An embedder that knows a place by its colour, on a grid of half as many cells."""

    name, module = "colors", torch.nn.Identity()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return waves(torch.nn.functional.avg_pool2d(images, 2))


def smooth_picture(height: int = 64, width: int = 64) -> np.ndarray:
    """Every place has its own colour."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    return np.stack((red, green, 255 - (red + green) / 2), axis=-1).astype(np.uint8)


def test_cells_are_found_where_the_picture_was_moved():
    """The second photo is the first one, enlarged, with a border that repeats its edge."""
    photo = smooth_picture()
    larger = cv2.resize(photo, (96, 96), interpolation=cv2.INTER_LINEAR)
    other = cv2.copyMakeBorder(larger, 20, 34, 70, 34, cv2.BORDER_REPLICATE)
    found = match(photo, other, Colors(), faces=("whole", (70, 20, 166, 116)), size=64, max_cycle=0.1)
    assert found.second.how == "box"
    inner = (slice(4, -4), slice(4, -4))
    expected = found.source * 1.5 + np.array([70, 20])
    assert np.percentile(np.abs(found.target - expected)[inner], 99) < 1.5  # cells are 3 px of the second photo
    assert found.matched[inner].mean() > 0.95
    points, sure, missed = found.transfer([[20, 30], [41.5, 12]])
    np.testing.assert_allclose(points, [[100, 65], [132.2, 38]], atol=3)
    assert (sure > 0.97).all()
    assert (missed < 0.05).all()


def test_what_is_not_in_the_second_face_is_not_matched():
    photo = smooth_picture()
    other = photo.copy()
    other[:, 40:] = photo[:, :1]  # the right of the face is gone
    found = match(photo, other, Colors(), faces=("whole", "whole"), size=64, max_cycle=0.05)
    assert found.matched[4:-4, 2:16].mean() > 0.9
    assert found.matched[:, 24:].mean() < 0.2
    assert found.summary()["matched"] == pytest.approx(found.matched.mean(), abs=1e-3)


def test_cells_outside_of_a_photo_are_not_matched():
    square = Square(15.5, 15.5, 64.0)  # twice the photo
    photo = smooth_picture(64, 64)
    crop = FaceCrop(photo[:32, :32], square, photo, "box")
    maps = waves(torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1)
    found = matched_faces(crop, crop, (maps, maps), 0.5)
    inside = ((found.source >= -0.5) & (found.source < 31.5)).all(axis=-1)
    assert inside.mean() == pytest.approx(0.25, abs=0.01)
    assert not found.matched[~inside].any()
    assert found.matched[inside].mean() > 0.95


def test_a_crop_maps_points_to_the_photo_and_back():
    rng = np.random.default_rng(0)
    face = crop_face(smooth_picture(90, 120), 32, (30, 20, 90, 60))
    assert face.square.box().tolist() == [30, 10, 90, 70]  # the longer side, around the centre
    points = rng.uniform(0, 31, (7, 2)).astype(np.float32)
    there = face.to_photo(points)
    np.testing.assert_allclose(face.to_crop(there), points, atol=1e-4)
    # the first pixel of the crop covers 60 / 32 px of the photo, from the corner of the box on
    np.testing.assert_allclose(face.to_photo(np.zeros((1, 2), np.float32)), [[30.9375, 10.9375]], atol=1e-5)
    whole = crop_face(smooth_picture(90, 120), 32, "whole")
    assert (whole.how, whole.square.side) == ("whole", 120)


def test_a_face_is_found_by_its_eyes_and_nose():
    """Coloured spots on grey: the embedding of each colour is a direction."""

    class Spots:
        def embed(self, images: torch.Tensor) -> torch.Tensor:
            bright = (images - images.mean(dim=1, keepdim=True)).clamp(min=0)
            return torch.cat((bright, torch.full_like(bright[:, :1], 0.05)), dim=1)

    photo = np.full((200, 300, 3), 90, np.uint8)
    eyes_and_nose = np.array([[180, 80], [240, 84], [212, 128]])
    for channel, (x, y) in enumerate(eyes_and_nose):
        color = [0, 0, 0]
        color[channel] = 255
        cv2.circle(photo, (int(x), int(y)), 9, color, -1)
    finder = FaceFinder(Spots(), torch.cat((torch.eye(3), torch.zeros(3, 1)), dim=1), 64)
    plain = np.full((50, 50, 3), 90, np.uint8)
    (nothing, _), (square, score) = finder.find([plain, photo])
    assert nothing is None
    assert square is not None
    assert score > 0.9
    np.testing.assert_allclose([square.x, square.y], eyes_and_nose.mean(axis=0), atol=5)
    assert square.side == pytest.approx(2.8 * 60, rel=0.1)
    with pytest.raises(DataError, match="in one place; give the box"):
        crop_face(plain, 32, "auto", finder)


def test_a_photo_without_a_face_is_said(capsys):
    class Found:
        score = 0.8

        def find(self, photos):
            return [(Square(30, 30, 40), self.score) for _ in photos]

    finder: Any = Found()
    photo = smooth_picture()
    assert crop_face(photo, 32, "auto", finder).score == 0.8
    assert "hardly like a face (likeness 0.80" in capsys.readouterr().err
    finder.score = 0.99
    assert crop_face(photo, 32, "auto", finder).how == "found"
    assert crop_face(photo, 32, "whole", finder).how == "whole"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("faces", "error", "text"),
    [
        (("all", "whole"), ConfigError, "face 'all': expected auto, whole, or a box"),
        (((1, 2, 3), "whole"), ConfigError, "expected four numbers"),
        (((9, 2, 3, 8), "whole"), DataError, "without area"),
        (("whole", (900, 900, 950, 950)), DataError, "outside the picture"),
    ],
)
def test_faces_that_cannot_be_cropped_are_named(faces, error, text):
    photo = smooth_picture()
    with pytest.raises(error, match=text):
        match(photo, photo, Colors(), faces=faces, size=32)


def test_points_outside_of_the_photo_are_refused():
    photo = smooth_picture()
    found = match(photo, photo, Colors(), faces=("whole", "whole"), size=32)
    with pytest.raises(ConfigError, match=r"point \(70, 3\) is outside of the first photo of 64 x 64 px"):
        found.transfer([[70, 3]])
    with pytest.raises(ConfigError, match=r"expected \(P, 2\)"):
        found.transfer([1, 2])
    with pytest.raises(ConfigError, match="expected a file or a uint8 array"):
        match(photo.astype(np.float32), photo, Colors())


def test_the_eyes_of_a_person_are_carried_to_a_cat(tmp_path, monkeypatch, capsys):
    """Photographs without boxes; the eyes and noses were looked up in the pictures by hand."""
    data = pytest.importorskip("skimage.data")
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.fromarray(data.astronaut()).save("person.png")
    Image.fromarray(data.chelsea()).save("cat.png")
    points, cat = [[202, 109], [248, 112], [223, 134]], np.array([[179, 160], [313, 160], [256, 258]])
    assert main(["match", "person.png", "cat.png", "--points", str(points)]) == 0
    told = capsys.readouterr().out
    assert "person.png: face (found" in told
    rows = (tmp_path / "match/points.csv").read_text().splitlines()
    found = np.array([row.split(",")[2:4] for row in rows[1:]], float)
    assert np.linalg.norm(found - cat, axis=1).max() < 20  # the cat's eyes are 134 px apart
    with np.load(tmp_path / "match/match.npz", allow_pickle=False) as fields:
        assert set(fields) == {"source", "target", "confidence", "cycle_error", "matched"}
        assert fields["target"].shape == (64, 64, 2)
    summary = json.loads((tmp_path / "match/match.json").read_text())
    assert summary["first"]["photo_size"] == [512, 512]
    with Image.open(tmp_path / "match/match.png") as picture:
        assert picture.size[0] > 600
    here, _, _ = dl.match("person.png", "cat.png").transfer(points)
    np.testing.assert_allclose(here, found, atol=0.01)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("a.png", "missing.png"), "no image missing.png"),
        (("a.png", "text.png"), "text.png is damaged or not an image"),
        (("a.png", "a.png", "--face_a", "left"), "a face left: expected auto, whole, or a box"),
        (("a.png", "a.png", "--points", "[[1, 2"), "--points [[1, 2: expected"),
        (("a.png", "a.png", "--model", "photos/dig"), "photos/dig"),
        (("a.png", "a.png", "--max_cycle", "0"), "max_cycle"),
        (("a.png",), "second"),
    ],
)
def test_wrong_commands_end_with_one_line_and_write_nothing(tmp_path, monkeypatch, capsys, words, text):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.fromarray(smooth_picture()).save("a.png")
    (tmp_path / "text.png").write_text("no picture")
    assert main(["match", *words]) != 0
    told = capsys.readouterr().err
    assert text in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "match").exists()


def test_an_altered_file_of_eyes_and_noses_is_an_error_and_another_embedder_has_none(monkeypatch, tmp_path):
    from dife_lightning.applications import finding
    from dife_lightning.weights import assets

    load_finder = finding.load_finder
    assert load_finder("world/teacher", Colors(), 64) is None
    entries = assets.list_assets()
    (tmp_path / entries["photos/dife-face-points"]["file"]).write_bytes(b"altered")
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    for module in (assets, finding):
        monkeypatch.setattr(module, "list_assets", lambda: entries)
    with pytest.raises(AssetError, match="has sha256"):
        load_finder("photos/dife", Colors(), 64)
