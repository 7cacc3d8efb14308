"""``dife predict --images``: a landmark model on a folder of photos, with the crops of its training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dife_lightning.methods.landmark_net import LandmarkNet

NAMES = ["left_eye", "right_eye", "nose"]
TINY = {"stem": 4, "bottlenecks": 1, "channels": [4, 4, 4, 4], "modules": [1, 1, 1], "blocks": 1}
CROP = {"rule": "box", "factor": 1.5, "shift": 0.1, "padding": "border", "min_side": 8.0}


def write_checkpoint(path: Path, **more: object) -> str:
    torch.manual_seed(0)
    model = LandmarkNet(network=TINY, landmarks=NAMES)
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "method": "landmark-net"}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "pytorch-lightning_version": L.__version__, **more}, path)
    return str(path)


def write_run(folder: Path) -> str:
    """Write a run whose settings, not its checkpoint, state size and crop."""
    write_checkpoint(folder / "checkpoints" / "best.ckpt")
    data = {"domains": {"dog": {"dataset": "folder", "root": "dogs"}}, "size": 48, "crop": CROP, "batch_size": 7}
    model = {"network": TINY, "landmarks": NAMES}
    sections = {
        "model": {"class_path": "dife_lightning.methods.landmark_net.LandmarkNet", "init_args": model},
        "data": {"class_path": "dife_lightning.data.photos.face_sets.FaceSets", "init_args": data},
        "trainer": {"accelerator": "cpu", "limit_predict_batches": 0},
    }
    (folder / "resolved.yaml").write_text(yaml.safe_dump(sections))
    return str(folder)


@pytest.fixture
def photos(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFE_CACHE", str(workdir / "cache"))
    rng = np.random.default_rng(0)
    (workdir / "photos" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(workdir / "photos" / name)
    (workdir / "boxes.csv").write_text("image,box_x0,box_y0,box_x1,box_y1\na.png,10,20,70,60\na.png,60,5,110,80\n")
    return workdir / "photos"


def data_of(folder: Path) -> dict[str, object]:
    settings = yaml.safe_load((folder / "resolved.yaml").read_text())
    assert settings["data"]["class_path"].endswith(".PhotoFaces")
    return settings["data"]["init_args"]


def test_a_run_finds_its_landmarks_on_photos_cropped_as_in_its_training(dife, photos, workdir):
    run = write_run(workdir / "runs" / "mine")
    code, _, error = dife(
        "predict", "--ckpt_path", run, "--images", "photos", "--boxes", "boxes.csv", "--label-next", "1"
    )
    assert code == 0, error
    folder = workdir / "runs/mine/eval/predict"
    data = data_of(folder)
    assert (data["size"], data["crop"], data["landmarks"]) == (48, CROP, NAMES)
    table = list(csv.DictReader((folder / "landmarks.csv").read_text().splitlines()))
    assert [row["name"] for row in table] == ["a.png#1", "a.png#2"]
    document = json.loads((folder / "landmarks.json").read_text())
    assert document["categories"][0]["keypoints"] == NAMES
    assert [one["bbox"] for one in document["annotations"]] == [[10, 20, 60, 40], [60, 5, 50, 75]]
    assert [path.name for path in (folder / "pictures").iterdir()] == ["a.png.jpg"]
    assert len((folder / "label_next.csv").read_text().splitlines()) == 2


def test_whole_photos_are_taken_without_boxes_and_a_line_says_so(dife, photos, workdir):
    run = write_run(workdir / "runs" / "mine")
    code, _, error = dife("predict", "--ckpt_path", run, "--images", "photos", "--out", "out", "--pictures", "0")
    assert code == 0, error
    crop = data_of(workdir / "out")["crop"]
    assert (crop["rule"], crop["factor"], crop["padding"], crop["min_side"]) == ("whole", None, "border", 8)
    assert "the model was trained on crops by the rule 'box'; these photos are cropped by 'whole'" in error
    assert "give --boxes FILE" in error
    assert (workdir / "out" / "landmarks.csv").read_text().count("\n") == 3
    assert not (workdir / "out" / "pictures").exists()


def test_a_checkpoint_alone_states_its_model_and_its_crops(dife, photos, workdir):
    path = write_checkpoint(workdir / "one.ckpt", trained_on={"size": 40, "crop": CROP})
    words = ["--trainer.accelerator", "cpu", "--data.init_args.crop.factor", "2", "--data.init_args.batch_size", "1"]
    code, _, error = dife(
        "predict", "--ckpt_path", path, "--images", "photos", "--boxes", "boxes.csv", "--out", "out", *words
    )
    assert code == 0, error
    data = data_of(workdir / "out")
    assert (data["size"], data["crop"], data["batch_size"]) == (40, {**CROP, "factor": 2.0}, 1)  # what is given wins


def test_the_long_form_does_the_same(dife, photos, workdir):
    run = write_run(workdir / "runs" / "mine")
    (workdir / "faces.yaml").write_text("data: {class_path: PhotoFaces, init_args: {pictures: photos}}")
    code, _, error = dife("predict", "--ckpt_path", run, "--config", "faces.yaml", "--out", "out")
    assert code == 0, error
    assert data_of(workdir / "out")["size"] == 48
    assert (workdir / "out" / "landmarks.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--images none", "--images none: no such folder. Give the folder"),
        ("--images photos --boxes none.csv", "--boxes none.csv: no such file. Give a COCO or CSV file"),
        ("--images photos --data FaceSets", "give --images or --data, not both"),
        ("--boxes boxes.csv", "--boxes needs --images FOLDER"),
        ("--label_next 3", "--label_next needs --images FOLDER"),
        ("--images photos/empty", "photos/empty holds no images"),
        ("--images photos --boxes lost.csv", "1 picture of 1 not found below photos"),
        ("--images photos --boxes outside.csv", "a.png: box from (130, 5) to (150, 40) is outside the picture"),
        ("--images photos --label_next -1", "label_next is -1; expected at least 0"),
        ("--images broken", "add --skip-broken to skip such pictures"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(dife, photos, workdir, words, message):
    run = write_run(workdir / "runs" / "mine")
    (photos / "empty").mkdir()
    (workdir / "broken").mkdir()
    (workdir / "broken" / "cut.png").write_bytes((photos / "a.png").read_bytes()[:3000])
    head = "image,box_x0,box_y0,box_x1,box_y1\n"
    (workdir / "lost.csv").write_text(f"{head}lost.png,1,2,3,4\n")
    (workdir / "outside.csv").write_text(f"{head}a.png,130,5,150,40\n")
    code, _, error = dife("predict", "--ckpt_path", run, *words.split(), "--out", "out")
    assert code != 0
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (workdir / "out").exists()


def test_a_model_that_finds_no_landmarks_is_told_what_to_do(dife, photos, workdir):
    code, _, error = dife(
        "predict", "--images", "photos", "--model", "CopyXY", "--allow_untrained", "--data.size", "32"
    )
    assert code == 2
    assert (
        "CopyXY finds no landmarks on a photo alone. Carry those of a labelled face over with UnlabelledPairs" in error
    )
    code, _, error = dife("predict", "--images", "photos")
    assert "--images needs a trained landmark model: --ckpt_path runs/<run>." in error


def test_a_checkpoint_that_states_no_size_needs_one(dife, photos, workdir):
    path = write_checkpoint(workdir / "one.ckpt")
    code, _, error = dife("predict", "--ckpt_path", path, "--images", "photos", "--out", "out")
    assert code != 0
    assert "add --data.init_args.size 256 (or another side)" in error
