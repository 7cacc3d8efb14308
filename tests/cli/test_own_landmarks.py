"""``dife landmarks``: from a few labelled faces to landmarks on a folder of photos."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from dife_lightning.cli.main import main

NAMES = ["leftEye", "rightEye", "snout"]


def write_photos(folder, labelled=6, photos=10, names=NAMES):
    """Write grey photos with three coloured dots, and the points of the first ones."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    rows = [["image", *(f"{name}_{axis}" for name in names for axis in "xy")]]
    for k in range(photos):
        image = rng.integers(90, 110, (70, 80, 3)).astype(np.uint8)
        points = np.array([[25, 25], [55, 26], [40, 45]]) + rng.integers(-4, 5, (3, 2))
        for channel, (x, y) in enumerate(points):
            image[y - 2 : y + 3, x - 2 : x + 3] = 0
            image[y - 2 : y + 3, x - 2 : x + 3, channel] = 255
        Image.fromarray(image).save(folder / f"photos/p{k}.png")
        if k < labelled:
            rows.append([f"photos/p{k}.png", *map(str, points.ravel())])
    (folder / "labels.csv").write_text("\n".join(",".join(row) for row in rows))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(*words: str) -> int:
    return main(["landmarks", *words])


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_landmarks_of_all_photos_an_error_and_what_to_label_next(folder, capsys):
    write_photos(folder)
    assert run("labels.csv", "--images", "photos", "--run", "own", "--steps", "4", "--label_next", "3") == 0
    told = capsys.readouterr().err
    assert "6 labelled faces: 4 for the training, 2 held out" in told
    found = rows_of(folder / "runs/own/eval/predict/landmarks.csv")
    assert [row["image"] for row in found] == sorted(f"p{k}.png" for k in range(10))
    assert {f"{name}_x" for name in NAMES} <= found[0].keys()
    tested = json.loads((folder / "runs/own/eval/test/metrics.json").read_text())
    assert (tested["rows"][0]["faces"], tested["switches"]["points"]) == (2, NAMES)
    settings = (folder / "runs/own/resolved.yaml").read_text()
    assert "photos/human-landmarks" in settings  # mines positives
    assert "init_from: photos/dife" in settings
    following = [row["image"] for row in rows_of(folder / "runs/own/eval/predict/label_next.csv")]
    assert len(following) == 3
    assert set(following) <= {f"p{k}.png" for k in range(6, 10)}  # the others are labelled


def test_few_labels_without_pairs_or_human_points_train_all_the_same(folder, capsys):
    write_photos(folder, labelled=3, photos=5, names=["ear", "horn", "tip"])
    assert run("labels.csv", "--images", "photos", "--steps", "2", "--label_next", "0") == 0
    told = capsys.readouterr().err
    assert "3 labelled faces, all for the training: no estimate of the error" in told
    assert "no left/right pairs among the landmarks" in told
    assert "no landmark is one of human faces" in told
    assert not (folder / "runs/landmarks/eval/test").exists()
    assert len(rows_of(folder / "runs/landmarks/eval/predict/landmarks.csv")) == 5


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("labels.csv",), "--images"),
        (("--images", "photos"), "name the labelled faces first"),
        (("labels.csv", "--images", "nowhere"), "--images nowhere: no such folder"),
        (("nothing.csv", "--images", "photos"), "no file or folder nothing.csv"),
        (("labels.csv", "--images", "photos", "--held_out", "1"), "expected a share"),
        (("labels.csv", "--images", "photos", "--boxes", "boxes.csv"), "labels.csv has no boxes of its faces"),
        (("labels.csv", "--images", "photos", "--colour", "red"), "unknown option 'colour'"),
    ],
)
def test_wrong_commands_end_with_one_line_and_write_nothing(folder, capsys, words, text):
    write_photos(folder, labelled=6, photos=6)
    assert run(*words) != 0
    assert text in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_a_folder_of_labelled_photos_alone_has_nothing_to_learn_from(folder, capsys):
    write_photos(folder, labelled=6, photos=6)
    assert run("labels.csv", "--images", "photos", "--steps", "2") != 0
    assert "no unlabelled face" in capsys.readouterr().err


def test_labels_that_were_downloaded_find_their_photos(folder, capsys):
    """The page of `dife serve` names photos as their folder does; the file may be anywhere."""
    write_photos(folder, labelled=4, photos=6)
    table = (folder / "labels.csv").read_text().replace("photos/", "")
    (folder / "downloads").mkdir()
    (folder / "downloads/landmarks.csv").write_text(table)
    assert run("downloads/landmarks.csv", "--images", "photos", "--steps", "1", "--label_next", "0") == 0
    assert "the labelled photos are taken from photos: they are not beside downloads" in capsys.readouterr().err
    (folder / "downloads/landmarks.csv").write_text(table.replace("p0.png", "lost.png"))
    assert run("downloads/landmarks.csv", "--images", "photos", "--steps", "1", "--run", "b") == 1
    assert "downloads/lost.png" in capsys.readouterr().err.splitlines()[-1]
