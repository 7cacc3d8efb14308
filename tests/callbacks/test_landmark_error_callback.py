"""Landmark models scored on sets of single faces whose errors are known."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console

from dife_lightning.callbacks import _detections
from dife_lightning.callbacks._detections import FaceCollector, model_weights
from dife_lightning.callbacks._nme_rows import print_landmark_scores
from dife_lightning.callbacks.landmark_error import LandmarkError
from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule
from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import PROTOCOLS, Scheme, get_scheme
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._landmarks import LandmarkModule

#: Sides of the boxes: lengths of 20 and 40 px.
SIDES = {"dog": (10.0, 40.0), "sheep": (32.0, 50.0)}
TO_PICTURE = np.array([[2.0, 0, 10], [0, 2, 20]])  # an image pixel is two of the picture


class Blobs:
    """Faces whose points are drawn from the index; face 1 has no visible point."""

    def __init__(self, domain, count):
        self.domain, self.count = domain, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng([1, len(self.domain), index])
        visible = (rng.random(9) > 0.2) & (index != 1)
        box = np.array([1, 2, 1 + SIDES[self.domain][0], 2 + SIDES[self.domain][1]], np.float32)
        return FaceArrays(
            image=rng.integers(0, 256, (32, 32, 3), dtype=np.uint8),
            points=np.where(visible[:, None], rng.random((9, 2)) * 31, 0).astype(np.float32),
            visible=visible,
            box=box,
            name=f"{self.domain}-{index}",
            crop=PictureCrop(f"{self.domain}/{index}.png", 100, 100, TO_PICTURE),
        )


class BlobSets(FaceSetsDataModule):
    """Seven dogs of three persons and five sheep."""

    def __init__(self, subjects=None, scheme="animalweb-9", **options):
        super().__init__(batch_size=4, **options)
        self.subjects, self.scheme = subjects, scheme

    def _make_sets(self, split):
        return [self._set("dog", 7, split, ("known",)), self._set("sheep", 5, split, ("unknown",))]

    def _set(self, domain, count, split, groups):
        fixed = {"list_hash": f"hash of {domain}", "framing": "plain", "size": 32, "scheme": self.scheme}
        subjects = None if self.subjects is None else self.subjects[:count]
        return FaceSet(Blobs(domain, count), domain=domain, list_name=split, groups=groups, subjects=subjects, **fixed)

    def list_hashes(self):
        return {"val": {"dog": "v"}, "test": {"dog": "hash of dog"}}

    def describe(self):
        return {"kind": "blobs"}

    def save_lists(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "test_dog.json").write_text("[]")


class Shifted(LandmarkModule):
    """The true points, moved by 3 px to the right and by 4 px down for each second face of a set: 5 px."""

    def detect_batch(self, batch):
        odd = (batch.index % 2).float()[:, None, None]
        scores = torch.arange(9.0).expand(len(batch), 9) / 10
        return Detections(batch.points + torch.tensor([3.0, 0.0]) + odd * torch.tensor([0.0, 4.0]), scores)


def expected_nme(domain, index):
    return 100 * (5.0 if index % 2 else 3.0) / math.sqrt(SIDES[domain][0] * SIDES[domain][1])


DOG = np.mean([expected_nme("dog", i) for i in (0, 2, 3, 4, 5, 6)])
SHEEP = np.mean([expected_nme("sheep", i) for i in (0, 2, 3, 4)])


def score(trainer, tmp_path, model=None, data=None, **options):
    callback = LandmarkError(**{"pictures": 0, "resamples": 200, "table": False, **options})
    trainer(callback).test(model or Shifted(), datamodule=data or BlobSets(), verbose=False)
    return json.loads((tmp_path / "metrics.json").read_text())


def test_validation_logs_the_mean_over_domains_and_the_scores_of_each(trainer):
    runner = trainer(LandmarkError(val_pictures=0))
    runner.validate(Shifted(), datamodule=BlobSets(), verbose=False)
    logged = {key: float(value) for key, value in runner.callback_metrics.items()}
    assert pytest.approx((4 * 15 + 2 * 25) / 6) == DOG
    assert pytest.approx((3 * 7.5 + 12.5) / 4) == SHEEP
    assert logged["val/dog/nme"] == pytest.approx(DOG, rel=1e-5)
    assert logged["val/sheep/nme"] == pytest.approx(SHEEP, rel=1e-5)
    assert logged["val/nme"] == pytest.approx((DOG + SHEEP) / 2, rel=1e-5)
    assert logged["val/known/nme"] == pytest.approx(DOG, rel=1e-5)
    assert logged["val/unknown/nme"] == pytest.approx(SHEEP, rel=1e-5)
    assert logged["val/sheep/failure_08"] == pytest.approx(0.25)
    assert (logged["val/dog/faces"], logged["val/dog/without_points"]) == (6, 1)
    assert 15 <= logged["val/dog/landmark/nose"] <= 25


def test_rows_are_those_of_domains_groups_and_all(trainer, tmp_path):
    rows = score(trainer, tmp_path)["rows"]
    keys = [(row["domain"], row["group"]) for row in rows]
    assert keys == [("dog", "known"), ("sheep", "unknown"), ("all", "known"), ("all", "unknown"), ("all", "all")]
    dog, sheep, known, unknown, everyone = rows
    # dogs: 15 15 25 15 25 15, all above 10; sheep: 7.5 7.5 12.5 7.5
    assert dog["nme"] == known["nme"] == pytest.approx(110 / 6, abs=1e-4)
    assert sheep["nme"] == unknown["nme"] == pytest.approx(8.75, abs=1e-4)
    assert everyone["nme"] == pytest.approx((110 + 35) / 10, abs=1e-4)
    assert everyone["nme_of_domains"] == pytest.approx((110 / 6 + 8.75) / 2, abs=1e-4)
    assert [row["faces"] for row in rows] == [6, 4, 6, 4, 10]
    assert [row["without_points"] for row in rows] == [1, 1, 1, 1, 2]
    assert [row["failure_10"] for row in rows] == pytest.approx([1, 0.25, 1, 0.25, 0.7])
    assert sheep["auc_10"] == pytest.approx(3 * 0.25 / 4, abs=1e-5)  # (10 - 7.5) / 10 for three of four faces
    assert (sheep["landmarks"], sheep["list"], sheep["list_hash"]) == ("animalweb-9", "test", "hash of sheep")
    assert (dog["interval"], dog["rule"]["length"], dog["rule"]["counted"]) == ("faces", "box", "visible")
    assert dog["ci95"][0] < dog["nme"] < dog["ci95"][1]


def test_predictions_are_in_pixels_of_the_picture_and_give_the_errors_again(trainer, tmp_path):
    result = score(trainer, tmp_path, data=BlobSets(subjects=["a", "a", "b", "b", "", "c", "c"]))
    with open(tmp_path / "predictions.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == (7 + 5) * 9
    nose = next(row for row in table if (row["face"], row["landmark"]) == ("sheep-3", "nose"))
    face = Blobs("sheep", 5)[3]
    found = face.points[4] + [3, 4]
    assert float(nose["predicted_x"]) == pytest.approx(2 * found[0] + 10, abs=1e-3)
    assert float(nose["predicted_y"]) == pytest.approx(2 * found[1] + 20, abs=1e-3)
    assert (nose["picture"], nose["subject"], float(nose["score"])) == ("sheep/3.png", "b", pytest.approx(0.4))
    faces = {}
    for row in table:
        if row["counted"] == "1":
            x, y = (float(row[f"predicted_{a}"]) - float(row[f"truth_{a}"]) for a in "xy")
            width, height = SIDES[row["domain"]]
            faces.setdefault(row["face"], []).append(100 * math.hypot(x, y) / 2 / math.sqrt(width * height))
            assert float(row["error"]) == pytest.approx(faces[row["face"]][-1], abs=1e-2)
        else:
            assert row["truth_x"] == row["error"] == ""
    nme = {row["face"]: row["nme"] for row in table}
    assert nme["dog-1"] == ""
    for name, errors in faces.items():
        assert float(nme[name]) == pytest.approx(np.mean(errors), abs=1e-2)
    dogs = [np.mean(errors) for name, errors in faces.items() if name.startswith("dog")]
    assert result["rows"][0]["nme"] == pytest.approx(np.mean(dogs), abs=1e-2)


def test_intervals_are_over_subjects_where_these_are_known(trainer, tmp_path):
    alone = score(trainer, tmp_path, data=BlobSets(subjects=list("abcdefg")))
    pairs = score(trainer, tmp_path, data=BlobSets(subjects=list("aabbccc")))
    unknown = score(trainer, tmp_path)
    intervals = [[row["ci95"] for row in result["rows"]] for result in (alone, pairs, unknown)]
    assert intervals[0][0] == intervals[2][0]  # each subject once: as if faces were drawn
    assert intervals[1][0] != intervals[2][0]
    assert [result["rows"][0]["interval"] for result in (alone, pairs, unknown)] == ["subjects", "subjects", "faces"]
    assert pairs["switches"]["bootstrap"]["over"] == "subjects"


def test_results_record_lists_switches_and_data(trainer, tmp_path):
    class Known(Shifted):
        def __init__(self):
            super().__init__()
            self.facts = {"trained_on": ["dog"]}

    result = score(trainer, tmp_path, Known(), pictures=2, method="shifted")
    assert result["lists"] == {"val": {"dog": "v"}, "test": {"dog": "hash of dog"}}
    assert (tmp_path / "lists" / "test_dog.json").exists()
    assert result["data"] == {"kind": "blobs"}
    assert result["method_facts"] == {"trained_on": ["dog"]}
    assert result["switches"]["points"] == list(get_scheme("animalweb-9").landmarks)
    assert (result["switches"]["normalizer"], result["switches"]["image_size"]) == ("box", 32)
    assert {row["method"] for row in result["rows"]} == {"shifted"}
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "test_dog_test_plain.png",
        "test_sheep_test_plain.png",
    ]


def test_another_normalizer_is_used_and_recorded(trainer, tmp_path):
    result = score(trainer, tmp_path, normalizer="outer_corners")
    errors = []
    for index in range(7):
        face = Blobs("dog", 7)[index]
        if face.visible[[0, 3]].all():
            errors.append(100 * (5 if index % 2 else 3) / math.dist(face.points[0], face.points[3]))
    assert 0 < len(errors) < 7
    assert result["rows"][0]["nme"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert (result["rows"][0]["faces"], result["rows"][0]["without_length"]) == (len(errors), 7 - len(errors))
    assert (result["switches"]["normalizer"], result["switches"]["rule"]["length"]) == ("outer_corners", "eyes")


def test_the_records_of_all_processes_are_scored_each_face_once(monkeypatch):
    data = BlobSets()
    data.setup("test")
    faces, model = data.test_sets[0], Shifted()
    parts = [[0, 2, 4, 6], [1, 3, 5, 0]]  # a distributed sampler repeats face 0
    collectors = [FaceCollector(faces, None, False, 2, torch.device("cpu")) for _ in parts]
    for collector, part in zip(collectors, parts, strict=True):
        batch = faces.collate(faces.__getitems__(part))
        collector.add(batch, model.detect_batch(batch))
    mine, other = collectors
    alone = mine.gather()
    assert alone.records.index.tolist() == [0, 2, 4, 6]
    for state in ("index", "predicted", "truth", "visible", "boxes"):  # what a gather of two processes leaves
        setattr(mine.metric, state, getattr(mine.metric, state) + getattr(other.metric, state))
    monkeypatch.setattr(_detections, "gather_objects", lambda seen: [seen, other._seen])
    found = mine.gather()
    assert found.records.index.tolist() == list(range(7))
    assert found.names == [f"dog-{i}" for i in range(7)]
    assert [crop.file_name for crop in found.crops] == [f"dog/{i}.png" for i in range(7)]
    assert found.scores.shape == (7, 9)
    assert float(found.errors.nme[found.errors.scored].mean()) == pytest.approx(DOG, rel=1e-5)
    assert [example.nme for example in mine.examples(found)] == pytest.approx([15, 15], rel=1e-5)


def test_a_model_of_another_scheme_is_scored_on_the_points_that_it_has(trainer, tmp_path):
    class Wide(LandmarkModule):
        """Finds the points of WFLW: the nine ones are right, the others far away."""

        scheme = "wflw-98"

        def detect_batch(self, batch):
            points = torch.full((len(batch), 98, 2), 1000.0)
            points[:, list(map(get_scheme("wflw-98").landmarks.index, get_scheme("animalweb-9").landmarks))] = (
                batch.points
            )
            return Detections(points, torch.ones(len(batch), 98))

    assert score(trainer, tmp_path, Wide())["rows"][0]["nme"] == pytest.approx(0, abs=1e-5)


def test_weights_exchange_left_and_right_and_take_means():
    eyes = Scheme("eyes", PROTOCOLS["3-point"].landmarks, (), "image", {})
    weights = model_weights(get_scheme("animalweb-9"), eyes, "M")
    expected = np.zeros((3, 9))
    expected[0, :2], expected[1, 2:4], expected[2, 4] = 0.5, 0.5, 1
    np.testing.assert_allclose(weights, expected)
    own = Scheme(
        "mine", ("right_eye", "left_eye", "nose"), (), "subject", {}
    )  # the face's own right is left in the image
    np.testing.assert_allclose(model_weights(own, eyes, "M"), np.eye(3))
    assert model_weights(eyes, eyes, "M") is None
    with pytest.raises(ConfigError, match="M finds the points of 'horse-5', without left_eye_outer"):
        model_weights(get_scheme("horse-5"), get_scheme("animalweb-9"), "M")


def test_what_finds_no_landmarks_is_explained(trainer, offset_matcher):
    with pytest.raises(ConfigError, match="Offset finds no landmarks on single faces"):
        trainer(LandmarkError()).validate(offset_matcher(), datamodule=BlobSets(), verbose=False)


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        ("left of the nose", ConfigError, "detect of Odd returned str"),
        (Detections(torch.zeros(4, 5, 2), torch.zeros(4, 5)), ConfigError, r"returned \(4, 5, 2\): expected"),
        (Detections(torch.full((4, 9, 2), torch.nan), torch.zeros(4, 9)), TrainingError, "not finite"),
    ],
)
def test_wrong_detections_are_refused(trainer, found, error, message):
    class Odd(LandmarkModule):
        def detect(self, images):
            return found

    with pytest.raises(error, match=message):
        trainer(LandmarkError()).validate(Odd(), datamodule=BlobSets(), verbose=False)


def test_sets_with_other_landmarks_do_not_go_together(trainer):
    class Mixed(BlobSets):
        def _make_sets(self, split):
            first, second = super()._make_sets(split)
            second.scheme = get_scheme("mafl-5")
            return [first, second]

    with pytest.raises(ConfigError, match="'dog/val/plain' and 'sheep/val/plain' have other landmarks"):
        trainer(LandmarkError()).validate(Shifted(), datamodule=Mixed(), verbose=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 1}, "resamples is 1"),
        ({"pictures": -1}, "pictures is -1"),
        ({"published": True, "normalizer": "box"}, "expected one of the two"),
    ],
)
def test_senseless_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        LandmarkError(**options)


def test_the_table_has_a_line_for_each_row(tmp_path):
    names = {"method": "m", "domain": "[dog]", "group": "known", "list": "test", "framing": "plain", "landmarks": "x"}
    numbers = {"nme": 7.126, "ci95": [6.5, 8.25], "failure_10": 0.125, "auc_10": 0.4567, "faces": 12}
    screen = io.StringIO()
    print_landmark_scores([{**names, **numbers, "interval": "subjects"}], tmp_path, Console(file=screen, width=120))
    said = screen.getvalue()
    assert "interval over subjects" in said
    line = next(line for line in said.splitlines() if "[dog]" in line)
    assert list(line.replace("│", " ").split())[-5:] == ["7.13", "6.50-8.25", "12%", "0.457", "12"]
