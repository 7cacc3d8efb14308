"""Scores of landmarks that nobody has but the user: two data sets of one's own, end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.callbacks.prediction_writer import PredictionWriter
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.errors import ConfigError
from dife_lightning.faces import get_scheme, scheme_from_names
from dife_lightning.faces.landmark_sets import landmark_set, set_points, shared_points

#: Points of face ``k``, moved by ``k`` pixels; the second data set has them in another order and by other names.
PLACES = {"ear_l": (20, 15), "ear_r": (70, 16), "snout": (45, 60), "chin": (46, 80)}
OTHER = {"Chin": "chin", "RightEar": "ear_r", "LeftEar": "ear_l", "beak": "snout", "tail": "chin"}


def write(root: Path, names: dict[str, str], count: int = 12) -> None:
    root.mkdir()
    with open(root / "points.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"{name}_{axis}" for name in names for axis in "xy")])
        for k in range(count):
            Image.new("RGB", (110, 120), (40 + k, 80, 90)).save(root / f"{k}.png")
            writer.writerow([f"{k}.png", *(v + k for place in names.values() for v in PLACES[place])])


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "fox", {name: name for name in PLACES})
    write(tmp_path / "owl", OTHER)
    (tmp_path / "owl.yaml").write_text("same_as: {beak: snout}")

    def make(**options):
        scheme = {"scheme": str(tmp_path / "owl.yaml")}
        domains = {
            "fox": {"dataset": "folder", "root": str(tmp_path / "fox")},
            "owl": {"dataset": "folder", "root": str(tmp_path / "owl"), "options": scheme},
        }
        return FacePairs(domains, **{"pairs": ["fox+owl"], "size": 64, "count": 5, "protocol": "common", **options})

    return make


def test_common_points_are_scored_by_the_users_names(pairs, trainer, offset_matcher, tmp_path):
    trainer(KeypointTransfer(pictures=1)).test(offset_matcher(), datamodule=pairs())
    (row,) = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert (row["protocol"], list(row["per_landmark"])) == ("common", ["ear_l", "ear_r", "snout", "chin"])
    assert list(row["per_landmark"].values()) == pytest.approx([3 * 70 / 64] * 4, rel=1e-5)
    assert row["points"] == 20
    with open(tmp_path / "predictions.csv", newline="") as file:
        assert {line["landmark"] for line in csv.DictReader(file)} == set(PLACES)


def test_predictions_are_of_the_right_points_in_the_photo(pairs, trainer, offset_matcher, tmp_path):
    trainer(PredictionWriter()).predict(offset_matcher(0.0), datamodule=pairs())
    document = json.loads((tmp_path / "keypoints.json").read_text())
    assert document["categories"][0]["keypoints"] == list(PLACES)
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        found = np.reshape(annotation["keypoints"], (-1, 3))[:, :2]
        moved = int(Path(image["file_name"]).stem)
        np.testing.assert_allclose(found, np.array(list(PLACES.values())) + moved, atol=1e-3)
    with pytest.raises(ConfigError, match="leave out the protocol"):
        trainer(PredictionWriter(protocol="3-point")).predict(offset_matcher(0.0), datamodule=pairs())


def test_points_are_chosen_by_name(pairs, trainer, offset_matcher, tmp_path):
    trainer(KeypointTransfer()).test(offset_matcher(), datamodule=pairs(protocol="chin,Ear L"))
    (row,) = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert list(row["per_landmark"]) == ["chin", "Ear L"]
    with pytest.raises(ConfigError, match="scheme 'own-4' has no point 'tail'"):
        pairs(protocol="chin,tail").setup("test")
    with pytest.raises(ConfigError, match=r"unknown protocol 'comon'. Did you mean 'common'"):
        pairs(protocol="comon")


def test_shared_points_of_schemes_with_different_lefts():
    own = scheme_from_names(["eye_l", "Eye R", "nose", "tail"], left="subject")
    protocol, (in_own, in_mafl) = shared_points([own, "mafl-5"])
    assert (protocol.landmarks, in_own, in_mafl) == (("right_eye", "left_eye", "nose"), (0, 1, 2), (1, 0, 2))
    assert protocol.flip_pairs == ((0, 1),)
    assert shared_points([own, "mafl-5"], eye_order="stored")[1] == [(0, 1, 2), (0, 1, 2)]
    assert shared_points(["ap10k-17", own])[1][1] == (0, 1, 2)
    with pytest.raises(ConfigError, match="'a', 'mafl-5' have no point in common"):
        shared_points([scheme_from_names(["x", "y"], "a"), "mafl-5"])


def test_two_schemes_of_ones_own_with_the_same_names_and_different_lefts():
    viewer, subject = scheme_from_names(["ear_l", "ear_r"]), scheme_from_names(["ear_l", "ear_r"], "b", left="subject")
    assert shared_points([viewer, subject])[1] == [(0, 1), (1, 0)]


def test_a_landmark_set_is_all_a_protocol_or_names():
    scheme = get_scheme("ap10k-17")
    assert landmark_set(scheme, "all")[1] == tuple((k,) for k in range(17))
    assert landmark_set(scheme, "3-point")[1] == ((1,), (0,), (2,))
    assert landmark_set(scheme, "Nose, left-eye") == (("Nose", "left-eye"), ((2,), (0,)))
    points, seen = set_points(np.arange(34, dtype=np.float32).reshape(17, 2), np.ones(17, bool), scheme, "neck,nose")
    assert (points.tolist(), seen.tolist()) == ([[6, 7], [4, 5]], [True, True])
    with pytest.raises(ConfigError, match=r"has no point 'nek'\. Did you mean 'neck'"):
        landmark_set(scheme, "nek,nose")
    with pytest.raises(ConfigError, match="each once"):
        landmark_set(scheme, "nose,Nose")
