"""``dife landmarks``: from a few labelled faces to landmarks on a folder of photos."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.cli.main import main
from tests.tiny import draw_nothing

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
    draw_nothing(monkeypatch)
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
        (("labels.csv", "--images", "photos", "--label_next", "-1"), "--label_next is -1; expected 0 or more"),
        (("labels.csv", "--images", "photos", "--steps", "0"), "--steps is 0; expected 1 or more"),
        (("labels.csv", "--images", "photos", "--boxes", "boxes.csv"), "labels.csv has no boxes of its faces"),
        (("labels.csv", "--images", "photos", "--colour", "red"), "unknown option 'colour'"),
    ],
)
def test_wrong_commands_end_with_one_line_and_write_nothing(folder, capsys, words, text):
    write_photos(folder, labelled=6, photos=6)
    assert run(*words) != 0
    assert text in capsys.readouterr().err
    assert not (folder / "runs").exists()


def edit_labels(folder, change) -> None:
    rows = [row.split(",") for row in (folder / "labels.csv").read_text().splitlines()]
    (folder / "labels.csv").write_text("\n".join(",".join(row) for row in change(rows)))


def test_labels_outside_their_photo_are_named_and_not_counted(folder, capsys):
    write_photos(folder, labelled=6, photos=8)

    def outside(rows):
        rows[2][1], rows[4][2] = "200", "-9"
        return rows

    edit_labels(folder, outside)
    assert run("labels.csv", "--images", "photos", "--steps", "1", "--label_next", "0") == 0
    told = capsys.readouterr().err
    named = "photos/p1.png (a point outside the picture), photos/p3.png (a point outside the picture)"
    assert f"own: landmarks of 2 faces cannot be used: {named}" in told
    assert "4 labelled faces, all for the training: no estimate" in told


def test_no_animal_is_both_held_out_and_labelled(folder, capsys):
    write_photos(folder, labelled=9, photos=13)
    animals = ["rex"] * 5 + ["ann"] * 2 + ["bob"] * 2
    edit_labels(folder, lambda rows: [[*rows[0], "animal"], *([*r, a] for r, a in zip(rows[1:], animals, strict=True))])
    words = ("labels.csv", "--images", "photos", "--subject", "animal", "--steps", "1", "--label_next", "0")
    assert run(*words) == 0
    assert "9 labelled faces: 7 for the training, 2 held out, no subject on both sides" in capsys.readouterr().err
    tested = rows_of(folder / "runs/landmarks/eval/test/predictions.csv")
    assert {row["subject"] for row in tested} in ({"ann"}, {"bob"})
    assert len({row["face"] for row in tested}) == 2
    edit_labels(folder, lambda rows: [rows[0], *([*r[:-1], "rex"] for r in rows[1:])])
    assert run(*words, "--run", "one") == 0
    assert "all labelled faces are of one subject" in capsys.readouterr().err


def test_an_interrupted_command_is_continued_and_a_finished_one_repeated(folder, capsys):
    write_photos(folder, labelled=5, photos=7)
    words = ("labels.csv", "--images", "photos", "--run", "own", "--label_next", "0")
    assert run(*words, "--steps", "4") == 0
    last = folder / "runs/own/checkpoints/last.ckpt"
    steps = int(torch.load(last, weights_only=False)["state_dict"]["steps_done"])
    shutil.rmtree(folder / "runs/own/eval")
    assert run(*words, "--steps", "4") == 0
    assert "runs/own exists: it is continued from its last checkpoint" in capsys.readouterr().err
    assert int(torch.load(last, weights_only=False)["state_dict"]["steps_done"]) == steps == 4
    assert len(rows_of(folder / "runs/own/eval/predict/landmarks.csv")) == 7
    assert run(*words, "--steps", "6") == 2
    assert "runs/own was trained with other labels, photos or options; add --overwrite" in capsys.readouterr().err
    edit_labels(folder, lambda rows: [*rows[:-1], [*rows[-1][:-1], "50"]])
    assert run(*words, "--steps", "4") != 0
    assert "the labels or the unlabelled faces have changed" in capsys.readouterr().err
    assert run(*words, "--steps", "4", "--overwrite") == 0
    last.unlink()
    assert run(*words, "--steps", "4") == 2
    assert "has no checkpoint to continue from; add --overwrite" in capsys.readouterr().err


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
