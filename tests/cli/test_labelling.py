"""The way of docs/labelling.md: from the files of an annotation tool to scores, predictions, and back."""

from __future__ import annotations

import json

import lightning  # noqa: F401  (before a test captures the streams that its loggers keep)
import numpy as np
import pytest
import yaml
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.cli.main import main
from tests.docs_text import CLONE, blocks

PLACES = {"eye_l": (35, 50), "eye_r": (65, 50), "snout": (50, 70), "chin": (50, 90)}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Ten pictures with four points each, labelled in LabelMe, and the configuration of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my_project").mkdir()
    rng = np.random.default_rng(0)
    for k in range(10):
        Image.fromarray(rng.integers(0, 255, (120, 100, 3), dtype=np.uint8)).save(f"my_project/{k}.png")
        shapes = [
            {"label": name, "points": [[x + k / 4, y - k / 4]], "group_id": None, "shape_type": "point", "flags": {}}
            for name, (x, y) in PLACES.items()
        ]
        content = {"shapes": shapes, "imagePath": f"{k}.png", "imageWidth": 100, "imageHeight": 120}
        (tmp_path / f"my_project/{k}.json").write_text(json.dumps(content))
    (block,) = [text for text in blocks((CLONE / "docs/labelling.md").read_text("utf-8"), "yaml") if "labelme" in text]
    (tmp_path / "faces.yaml").write_text(block)
    return tmp_path


def test_the_configuration_of_the_page_scores_the_landmarks_of_the_file(project):
    words = ["--trainer.accelerator", "cpu", "--trainer.logger", "false", "--model", "CopyXY", "--out", "out"]
    assert main(["test", "--config", "faces.yaml", *words]) == 0
    result = json.loads((project / "out/metrics.json").read_text())
    assert result["rows"][0]["pair"] == "fox+fox"
    assert result["rows"][0]["protocol"] == "common"
    assert result["rows"][0]["pairs"] > 2


def test_predictions_go_back_into_the_tool_and_are_read_again(project, capsys):
    content = yaml.safe_load((project / "faces.yaml").read_text())
    content["trainer"] = {"accelerator": "cpu", "logger": False, "callbacks": [{"class_path": "PredictionWriter"}]}
    (project / "predict.yaml").write_text(yaml.safe_dump(content))
    assert main(["predict", "--config", "predict.yaml", "--model", "CopyXY", "--out", "out"]) == 0
    written = json.loads((project / "out/keypoints.json").read_text())
    files = {image["id"]: image["file_name"] for image in written["images"]}
    wanted = {files[a["image_id"]]: np.reshape(a["keypoints"], (-1, 3))[:, :2] for a in written["annotations"]}
    words = ["data", "convert", "out/keypoints.json", "back", "--images", "my_project", "--to", "labelme"]
    assert main(words) == 0
    assert "is read with `coco-keypoints`" in capsys.readouterr().out
    found = load_dataset("labelme", "back")
    assert {face.image.name for face in found.annotations} == wanted.keys()
    names = written["categories"][0]["keypoints"]
    assert sorted(names) == sorted(PLACES)
    for face in found.annotations:
        order = [found.scheme.landmarks.index(name) for name in names]
        np.testing.assert_allclose(face.points[order], wanted[face.image.name], atol=0.01)
