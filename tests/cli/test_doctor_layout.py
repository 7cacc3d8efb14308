"""`dife doctor` on a folder of photographs: what it has, what is missing, and what to type."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dife_lightning.cli.doctor.layout import look_at_layout
from dife_lightning.cli.main import main
from tests.photo_folder import write_faces, write_photos

DOG = {"dataset": "folder", "root": "own/photos/faces/dog", "options": {"file": "test.csv", "subject": "photo"}}
PAIRS = {"domains": {"dog": DOG, "cat": DOG | {"root": "own/photos/faces/cat"}}, "pairs": ["dog+dog"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "paths.yaml").write_text("photos: photos\n")
    write_faces(tmp_path / "photos/faces/dog", "dog", np.random.default_rng(0), count=3)
    (tmp_path / "photos/unlabelled/dog").mkdir(parents=True)
    for k in range(2):
        shutil.copy(tmp_path / "photos/faces/dog/images/val0.png", tmp_path / f"photos/unlabelled/dog/{k}.png")
    return tmp_path / "photos"


def found(arguments: dict = PAIRS) -> list[str]:
    return [f"{level}: {text}" for level, _, text in look_at_layout(arguments)]


def test_a_whole_folder_is_counted(folder):
    assert found() == [
        f"ok: dog: 2 pictures in {folder.resolve()}/unlabelled/dog",
        "ok: dog: faces in train.csv 3, val.csv 3, test.csv 3; no photo or subject in two of them",
    ]


def test_missing_tables_come_with_the_command_that_makes_them(folder):
    for name in ("train", "val"):
        (folder / f"faces/dog/{name}.csv").unlink()
    assert re.fullmatch(
        r"error: dog: no train.csv and no val.csv in .*/faces/dog; "
        r"`dife data convert MY_PROJECT photos/faces/dog --to csv --split 60,10,30` makes the tables",
        found()[-1],
    )


def test_without_pictures_for_a_generator_there_is_a_warning(folder):
    shutil.rmtree(folder / "unlabelled")
    assert re.fullmatch(
        r"warning: dog: no pictures in .*/unlabelled/dog; .*`dife fit --config photos/generator_dog`", found()[0]
    )


@pytest.mark.parametrize("column", ["image", "photo"])
def test_a_photo_or_a_subject_in_two_tables_is_an_error(folder, column):
    file = folder / "faces/dog/test.csv"
    lines = file.read_text().split("\n")
    cells = lines[1].split(",")
    cells[lines[0].split(",").index(column)] = {"image": "images/train1.png", "photo": "train1"}[column]
    file.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    assert re.match(r"error: dog: .*train1.* in both train.csv and test.csv; `dife data convert", found()[-1])


def test_a_missing_folder_is_told_with_the_page_that_shows_it(folder):
    shutil.rmtree(folder / "faces/dog")
    (one,) = found()
    assert re.match(r"error: dog: 'own/photos/faces/dog' is .* does not exist; .*docs/photos.md", one)


def test_other_data_sets_have_no_such_layout(folder):
    other = DOG | {"options": {"file": "points.csv"}}
    assert found(PAIRS | {"domains": {"dog": other}}) == []


def test_the_doctor_shows_it_for_a_configuration_of_photographs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    root = write_photos(tmp_path, monkeypatch, ("human", "dog"))
    assert main(["doctor", "photos/human_dog", "trainer/cpu", "--no-steps"]) == 0
    text = capsys.readouterr().out
    assert "✓ photos: human: 30 pictures" in text
    assert "✓ photos: dog: faces in train.csv 6, val.csv 6, test.csv 6" in text
    (root / "faces/dog/val.csv").unlink()
    assert main(["doctor", "photos/human_dog", "trainer/cpu", "--no-steps"]) == 1
    text = capsys.readouterr().out
    assert "✗ photos: dog: no val.csv in" in text
    assert "✗ data" not in text
