from __future__ import annotations

import csv
import json

import pytest

from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.callbacks.prediction_writer import PredictionWriter
from dife_lightning.errors import ConfigError
from dife_lightning.faces.schemes import PROTOCOLS
from dife_lightning.matching import MatchingOptions


@pytest.fixture
def written(trainer, blobs, offset_matcher, tmp_path):
    def run(pairs=None, **options):
        method = offset_matcher()
        trainer(PredictionWriter(**options), KeypointTransfer()).predict(method, datamodule=blobs(**(pairs or {})))
        with open(tmp_path / "keypoints.csv", newline="") as file:
            return method, json.loads((tmp_path / "keypoints.json").read_text()), list(csv.DictReader(file))

    return run


def test_the_json_is_a_sound_coco_document(written):
    _, document, _ = written()
    (category,) = document["categories"]
    assert category["keypoints"] == list(PROTOCOLS["9-point"].landmarks)
    images = {image["id"]: image for image in document["images"]}
    assert len(images) == len(document["annotations"]) == 14
    for annotation in document["annotations"]:
        assert annotation["image_id"] in images
        assert len(annotation["keypoints"]) == 3 * len(category["keypoints"])
        assert set(annotation["keypoints"][2::3]) <= {1, 2}
        assert images[annotation["image_id"]]["file_name"].startswith("dog-")
        assert annotation["source"].startswith("human-")


def test_both_files_hold_the_points_that_were_transferred(written, blobs):
    _, document, rows = written()
    data = blobs()
    data.setup("predict")
    expected = data.test_sets[0][2].target_points[:9]
    keypoints = document["annotations"][2]["keypoints"]
    for k in range(9):
        assert keypoints[3 * k : 3 * k + 2] == pytest.approx([expected[k, 0] + 3.0, expected[k, 1]], abs=1e-4)
        row = rows[2 * 9 + k]
        assert (float(row["x"]), float(row["y"])) == pytest.approx((expected[k, 0] + 3.0, expected[k, 1]), abs=1e-3)
        assert row["landmark"] == PROTOCOLS["9-point"].landmarks[k]
        assert row["pair_id"] == "human-2>dog-7"


def test_three_points_can_be_written_instead(written):
    _, document, rows = written(protocol="3-point")
    assert document["categories"][0]["keypoints"] == ["left_eye", "right_eye", "nose"]
    assert len(rows) == 14 * 3


def test_three_points_are_written_where_pairs_have_no_others(written):
    _, document, rows = written({"protocols": ["3-point"]})
    assert document["categories"][0]["keypoints"] == ["left_eye", "right_eye", "nose"]
    assert len(rows) == 14 * 3
    with pytest.raises(ConfigError, match="have 3-point landmarks, not 9-point"):
        written({"protocols": ["3-point"]}, protocol="9-point")


def test_the_document_says_whose_left_is_meant(written):
    assert "the viewer's left" in written()[1]["info"]["coordinates"]
    assert "as each data set stores it" in written({"eye_order": "stored"})[1]["info"]["coordinates"]


def test_its_own_matching_options_hold_for_predict(trainer, blobs, offset_matcher, tmp_path):
    asked = []

    class Asked(offset_matcher):
        def transfer_batch(self, batch, matching=MatchingOptions()):  # noqa: B008 - frozen
            asked.append(matching)
            return batch.target_points

    trainer(PredictionWriter(similarity="cosine"), KeypointTransfer()).predict(Asked(), datamodule=blobs())
    assert asked[1::2] == [MatchingOptions("cosine")] * 4  # each after Lightning's own call with the default
    assert (tmp_path / "keypoints.csv").is_file()
