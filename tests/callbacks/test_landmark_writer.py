"""What a landmark model finds on photos without labels is of the original photo, whatever was cut out of it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from dife_lightning.callbacks.landmark_writer import LandmarkWriter
from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule
from dife_lightning.data.photos.photo_faces import PhotoFaces
from dife_lightning.datasets import load_dataset
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._heatmap_networks import HeatmapModule
from dife_lightning.methods._landmarks import LandmarkModule
from dife_lightning.methods.landmark_net import LandmarkNet
from dife_lightning.methods.meta_cskt import MetaCSKT
from dife_lightning.viz.landmarks import LEFT, OTHER, RIGHT
from tests.fake_faces import BLUE, GREEN, RED

NAMES = ["left_eye", "right_eye", "nose"]
#: Name, width and height as viewers show it, EXIF orientation, and left eye, right eye and nose of each face.
PHOTOS = {
    "a.png": ((160, 130), 1, [[(60, 50), (100, 54), (80, 84)]]),
    "deep/b.png": ((130, 210), 6, [[(40, 60), (84, 66), (60, 96)]]),
    "c.png": ((200, 180), 8, [[(40, 44), (72, 40), (56, 66)], [(120, 110), (160, 116), (138, 146)]]),
}
STORED = {1: 0, 6: 1, 8: 3}  # quarter turns to the left that give the stored picture
TINY = {"stem": 4, "bottlenecks": 1, "channels": [4, 4, 4, 4], "modules": [1, 1, 1], "blocks": 1}


class DotFinder(LandmarkModule):
    """Finds the coloured dots by their colour; what it does not see has no score."""

    def __init__(self) -> None:
        super().__init__()
        self.scheme = scheme_from_names(NAMES)

    def detect(self, images):
        pixels = (images + 1) * 127.5
        points, scores = torch.zeros(len(images), 3, 2), torch.zeros(len(images), 3)
        for k, color in enumerate((RED, BLUE, GREEN)):
            near = (pixels - torch.tensor(color)[:, None, None]).abs().sum(1) < 120
            for b, mask in enumerate(near):
                if mask.any():
                    points[b, k] = mask.nonzero().float().mean(0).flip(0)
                    scores[b, k] = 0.25 + k / 2  # the nose has 1.25
        return Detections(points, scores)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    for name, ((width, height), orientation, faces) in PHOTOS.items():
        image = np.full((height, width, 3), 120, np.uint8)
        for face in faces:
            for (x, y), color in zip(face, (RED, BLUE, GREEN), strict=True):
                image[y - 3 : y + 4, x - 3 : x + 4] = color
        exif = Image.Exif()
        exif[0x0112] = orientation
        place = tmp_path / "photos" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(np.rot90(image, STORED[orientation]))).save(place, exif=exif)
    return tmp_path / "photos"


def boxes_of(photos: Path, names=tuple(PHOTOS)) -> str:
    """Write boxes that leave 14 px around the points of each face."""
    rows = ["image,box_x0,box_y0,box_x1,box_y1"]
    for name in names:
        for face in PHOTOS[name][2]:
            low, high = np.min(face, 0) - 14, np.max(face, 0) + 14
            rows.append(",".join(map(str, (name, *low, *high))))
    path = photos.parent / "boxes.csv"
    path.write_text("\n".join(rows))
    return str(path)


def expected(name: str) -> np.ndarray:
    photo, _, number = name.partition("#")
    return np.array(PHOTOS[photo][2][int(number or 1) - 1], float)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def predict(trainer, data, model=None, **options):
    trainer(LandmarkWriter(**options)).predict(model or DotFinder(), datamodule=data)


CROPS = {
    "box": CropOptions("box", factor=1.2, padding="reflect"),
    "animalweb": CropOptions("animalweb"),
    "whole": None,
}


@pytest.fixture(params=list(CROPS))
def predicted(request, trainer, photos, tmp_path):
    """The results of the photos with boxes, or of the two photos of one face without."""
    boxes = None if request.param == "whole" else boxes_of(photos)
    if boxes is None:
        (photos / "c.png").unlink()
    data = PhotoFaces(str(photos), boxes, NAMES, size=160, crop=CROPS[request.param], batch_size=3)
    predict(trainer, data)
    return photos, tmp_path, boxes is not None


def test_points_are_those_of_the_original_photo(predicted):
    _, folder, boxed = predicted
    document, table = json.loads((folder / "landmarks.json").read_text()), rows_of(folder / "landmarks.csv")
    images = {image["id"]: image for image in document["images"]}
    assert len(table) == len(document["annotations"]) == (4 if boxed else 2)
    assert len(images) == (3 if boxed else 2)
    for row, annotation in zip(table, document["annotations"], strict=True):
        image = images[annotation["image_id"]]
        assert (image["width"], image["height"]) == PHOTOS[image["file_name"]][0]
        assert (row["image"], row["name"]) == (image["file_name"], annotation["face"])
        found = np.reshape(annotation["keypoints"], (3, 3))
        np.testing.assert_allclose(found[:, :2], expected(row["name"]), atol=0.8)
        assert found[:, 2].tolist() == [2, 2, 2]
        np.testing.assert_allclose([[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in NAMES], found[:, :2])
        assert [float(row[f"{name}_score"]) for name in NAMES] == annotation["keypoint_scores"] == [0.25, 0.75, 1]
        assert float(row["confidence"]) == annotation["score"] == pytest.approx(2 / 3, abs=1e-4)
        assert float(row["flip_shift"]) == annotation["flip_shift"]
        x, y, width, height = annotation["bbox"]
        if boxed:
            low, high = expected(row["name"]).min(0) - 14, expected(row["name"]).max(0) + 14
            np.testing.assert_allclose([x, y, x + width, y + height], [*low, *high], atol=0.02)
        else:
            assert [x, y, width, height] == [0, 0, image["width"], image["height"]]
        assert annotation["area"] == pytest.approx(width * height, abs=0.01)


def test_flip_shift_is_the_distance_to_the_mirrored_points_in_parts_of_the_crop(trainer, photos, tmp_path):
    # by its colour, the left eye of the mirrored face is the left one again: both eyes are off by their distance
    boxes = boxes_of(photos, ["a.png"])
    predict(trainer, PhotoFaces(str(photos), boxes, NAMES, size=160))
    (row,) = rows_of(tmp_path / "landmarks.csv")
    left, right, _ = expected("a.png")
    side = 40 + 2 * 14  # the longer side of the box
    assert float(row["flip_shift"]) == pytest.approx(2 * math.dist(left, right) / 3 / side, abs=0.01)


def test_the_readers_of_the_project_give_the_same_points(predicted):
    photos, folder, boxed = predicted
    for faces in (
        load_dataset("folder", photos, file=folder / "landmarks.csv"),
        load_dataset("coco-keypoints", photos, file=folder / "landmarks.json"),
    ):
        table = rows_of(folder / "landmarks.csv")
        assert len(faces) == len(table)
        for index, row in enumerate(table):
            face = faces.upright(index)
            assert face.image.samefile(photos / row["image"])
            assert faces.scheme.landmarks == tuple(NAMES)
            assert faces.scheme.flip_pairs == ((0, 1),)
            assert face.visible.all()
            np.testing.assert_allclose(
                face.points, [[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in NAMES], atol=1e-3
            )
            if boxed:
                low, high = expected(row["name"]).min(0) - 14, expected(row["name"]).max(0) + 14
                np.testing.assert_allclose(face.box, [*low, *high], atol=0.02)


def test_cocos_own_code_reads_the_document(predicted):
    _, folder, _ = predicted
    coco = COCO(folder / "landmarks.json")
    (category,) = coco.loadCats(coco.getCatIds())
    assert (category["keypoints"], category["skeleton"]) == (NAMES, [])
    results = coco.loadRes(coco.loadAnns(coco.getAnnIds()))
    assert [one["score"] for one in results.anns.values()] == pytest.approx([2 / 3] * len(results.anns), abs=1e-4)


def test_photos_are_drawn_in_their_own_size_up_to_a_limit(trainer, photos, tmp_path):
    predict(trainer, PhotoFaces(str(photos), boxes_of(photos), NAMES, size=160), pictures=2)
    drawn = sorted(
        path.relative_to(tmp_path / "pictures").as_posix() for path in (tmp_path / "pictures").rglob("*.jpg")
    )
    assert drawn == ["a.png.jpg", "deep/b.png.jpg"]
    for name in ("a.png", "deep/b.png"):
        image = np.asarray(Image.open(tmp_path / "pictures" / f"{name}.jpg")).astype(int)
        assert image.shape[1::-1] == PHOTOS[name][0]
        for (x, y), color in zip(expected(name).astype(int), (LEFT, RIGHT, OTHER), strict=True):
            assert np.abs(image[y, x] - color).max() < 90


def test_what_is_not_found_is_empty_not_labelled_and_not_drawn(trainer, photos, tmp_path, capsys):
    image = np.array(Image.open(photos / "a.png"))
    x, y = PHOTOS["a.png"][2][0][1]
    image[y - 3 : y + 4, x - 3 : x + 4] = 120  # the right eye is gone
    Image.fromarray(image).save(photos / "a.png")
    predict(trainer, PhotoFaces(str(photos), boxes_of(photos, ["a.png"]), NAMES, size=160))
    (row,) = rows_of(tmp_path / "landmarks.csv")
    assert (row["right_eye_x"], row["right_eye_y"], float(row["right_eye_score"])) == ("", "", 0)
    assert float(row["confidence"]) == pytest.approx((0.25 + 0 + 1) / 3, abs=1e-4)
    (annotation,) = json.loads((tmp_path / "landmarks.json").read_text())["annotations"]
    assert annotation["keypoints"][3:6] == [0, 0, 0]
    assert annotation["num_keypoints"] == 2
    assert load_dataset("folder", photos, file=tmp_path / "landmarks.csv").annotations[0].visible.tolist() == [1, 0, 1]
    assert "1 face: mean confidence 0.417, 1 point not found" in capsys.readouterr().err


def test_a_peak_far_outside_the_photo_is_not_a_point(trainer, photos, tmp_path):
    class Corner(DotFinder):
        def detect(self, images):
            points = torch.tensor([[0.0, 0], [31, 15], [0, 15]]).expand(len(images), 3, 2)
            return Detections(points, torch.ones(len(images), 3))

    Image.new("RGB", (200, 50)).save(photos / "flat.png")  # 75 rows of padding above, of which 50 are too far
    for name in PHOTOS:
        (photos / name).unlink()
    predict(trainer, PhotoFaces(str(photos), None, NAMES, size=32), Corner(), pictures=0)
    (row,) = rows_of(tmp_path / "landmarks.csv")
    assert row["left_eye_x"] == ""
    assert row["nose_x"] != ""
    assert len(load_dataset("folder", photos, file=tmp_path / "landmarks.csv")) == 1


def network(kind=LandmarkNet, **options) -> HeatmapModule:
    """Return a method with a random network whose heat maps have clear peaks."""
    torch.manual_seed(4)
    model = kind(network=TINY, landmarks=NAMES, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.3)
    torch.nn.init.normal_(model.evaluated.head[3].weight, std=0.02)
    return model.eval()


def slow_points(maps: np.ndarray) -> np.ndarray:
    """Return the points (K, 2) in pixels of heat maps (K, h, w): the highest cell, and a quarter to its neighbour."""
    found = []
    for one in maps:
        y, x = np.unravel_index(one.argmax(), one.shape)
        place = [float(x), float(y)]
        if 0 < x < one.shape[1] - 1 and 0 < y < one.shape[0] - 1 and one.max() > 0:
            place[0] += 0.25 * np.sign(one[y, x + 1] - one[y, x - 1])
            place[1] += 0.25 * np.sign(one[y + 1, x] - one[y - 1, x])
        found.append([4 * place[0] + 1.5, 4 * place[1] + 1.5])
    return np.array(found)


@pytest.mark.parametrize(("kind", "flip_test"), [(LandmarkNet, True), (LandmarkNet, False), (MetaCSKT, True)])
def test_scores_and_flip_shift_of_a_network_are_those_of_its_heat_maps(trainer, photos, tmp_path, kind, flip_test):
    model, runs = network(kind, flip_test=flip_test), []
    handle = model.evaluated.register_forward_hook(lambda *_: runs.append(1))
    data = PhotoFaces(str(photos), boxes_of(photos), NAMES, size=64)
    predict(trainer, data, model)
    assert len(runs) == 2  # on the images and on the mirrored ones, once each
    handle.remove()
    faces = data.test_sets[0]
    for number, row in enumerate(rows_of(tmp_path / "landmarks.csv")):
        image = torch.tensor(faces[number].image).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            plain, mirrored = model.evaluated(image)[0].numpy(), model.evaluated(image.flip(-1))[0].numpy()
        back = mirrored[[1, 0, 2], :, ::-1]
        averaged = (plain + back) / 2 if flip_test else plain
        scores = averaged.reshape(3, -1).max(1).clip(0, 1)
        assert 0 < scores.min() < 1
        assert [float(row[f"{name}_score"]) for name in NAMES] == pytest.approx(scores, abs=1e-3)
        assert float(row["confidence"]) == pytest.approx(scores.mean(), abs=1e-3)
        there = slow_points(mirrored)
        there[:, 0] = 63 - there[:, 0]
        distances = np.linalg.norm(slow_points(plain) - there[[1, 0, 2]], axis=1)
        assert float(row["flip_shift"]) == pytest.approx(distances.mean() / 64, abs=1e-3)
    assert not model.evaluated._forward_hooks


def test_a_scheme_without_mirror_pairs_has_no_flip_shift(trainer, photos, tmp_path):
    model = DotFinder()
    model.scheme = scheme_from_names(["a", "b", "c"])
    predict(trainer, PhotoFaces(str(photos), boxes_of(photos), ["a", "b", "c"], size=64), model)
    assert {row["flip_shift"] for row in rows_of(tmp_path / "landmarks.csv")} == {""}
    assert all("flip_shift" not in one for one in json.loads((tmp_path / "landmarks.json").read_text())["annotations"])


def test_the_photos_to_label_next_are_listed_with_reasons(trainer, photos, tmp_path):
    predict(trainer, PhotoFaces(str(photos), boxes_of(photos), NAMES, size=64), network(), label_next=2)
    table, chosen = rows_of(tmp_path / "landmarks.csv"), rows_of(tmp_path / "label_next.csv")
    assert [row["order"] for row in chosen] == ["1", "2"]
    assert len({row["image"] for row in chosen}) == 2
    by_name = {row["name"]: row for row in table}
    first = chosen[0]
    ranks = {
        name: sum(float(other["confidence"]) > float(row["confidence"]) for other in table)
        + sum(float(other["flip_shift"]) < float(row["flip_shift"]) for other in table)
        for name, row in by_name.items()
    }
    assert ranks[first["name"]] == max(ranks.values())
    assert float(first["doubt"]) == pytest.approx(max(ranks.values()) / 6, abs=1e-4)
    for row in chosen:
        scores = {name: float(by_name[row["name"]][f"{name}_score"]) for name in NAMES}
        assert scores[row["weakest"]] == min(scores.values()) == float(row["weakest_score"])
        assert row["confidence"] == by_name[row["name"]]["confidence"]
    assert (chosen[0]["distance"], float(chosen[1]["distance"]) > 0) == ("", True)


def test_nothing_is_chosen_unless_asked_for(trainer, photos, tmp_path):
    predict(trainer, PhotoFaces(str(photos), boxes_of(photos), NAMES, size=64), pictures=0)
    assert not (tmp_path / "label_next.csv").exists()
    assert not (tmp_path / "pictures").exists()


class Drawn:
    """One face that a data set holds in memory, with a dot for the left eye; as a photo if it has a ``file``."""

    def __init__(self, file=None):
        if file is not None:
            self.picture = lambda index: file

    def __len__(self):
        return 1

    def __getitem__(self, index):
        image = np.full((32, 32, 3), 120, np.uint8)
        image[9:12, 19:22] = RED
        nothing = np.full((3, 2), np.nan, np.float32), np.zeros(3, bool), np.full(4, np.nan, np.float32)
        crop = PictureCrop("one.png", 64, 64, np.array([[2.0, 0, 0.5], [0, 2, 0.5]]))
        return FaceArrays(image, *nothing, "one", crop)


class DrawnSets(FaceSetsDataModule):
    def __init__(self, *files):
        super().__init__()
        self.files = files

    def _make_sets(self, split):
        known = {"list_name": split, "scheme": scheme_from_names(NAMES), "size": 32}
        return [FaceSet(Drawn(file), domain=f"kind{k}", **known) for k, file in enumerate(self.files)]


def test_faces_that_are_on_no_photo_are_written_but_not_drawn(trainer, tmp_path):
    predict(trainer, DrawnSets(None))
    (row,) = rows_of(tmp_path / "landmarks.csv")
    assert (float(row["left_eye_x"]), float(row["left_eye_y"])) == (40.5, 20.5)
    assert not (tmp_path / "pictures").exists()


def test_photos_of_one_name_in_two_data_sets_are_not_mixed_up(trainer, tmp_path):
    with pytest.raises(ConfigError, match=r"dogs/one.png and cats/one.png have one name"):
        predict(trainer, DrawnSets(Path("dogs/one.png"), Path("cats/one.png")), pictures=0)
    assert not list(tmp_path.glob("landmarks.*"))


def test_what_finds_no_landmarks_is_refused(trainer, photos, offset_matcher):
    with pytest.raises(ConfigError, match="Offset finds no landmarks on single faces; use pairs of faces"):
        predict(trainer, PhotoFaces(str(photos), size=64), offset_matcher())
    with pytest.raises(ConfigError, match="pictures is -1"):
        LandmarkWriter(pictures=-1)
