"""A table with the predictions of another program as a row, on the pairs of a method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from dife_lightning.data.photos.face_pairs import FacePairs
from experiments.common.keys import file_hashes
from experiments.tables import __main__ as tables

#: Left eye, right eye and nose of each photo; all crops have a side of 2.8 x 80 px.
FACES = {f"{name}.png": [(60 + k, 80), (140 + k, 84), (100 + k, 130)] for k, name in enumerate("abcd")}
HEADER = "image,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y"


def write(path: Path, shift: float = 0) -> None:
    rows = [",".join([name, *(str(v + shift) for p in points for v in p)]) for name, points in FACES.items()]
    path.write_text("\n".join([HEADER, *rows]) + "\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("experiments.common.measure.processors", lambda: 1)
    for domain in ("dogs", "cats"):
        (tmp_path / domain).mkdir()
        for name in FACES:
            Image.new("RGB", (200, 200), (90, 90, 90)).save(tmp_path / domain / name)
        write(tmp_path / domain / "points.csv")
    text = (Path(__file__).parents[2] / "docs/tables.md").read_text(encoding="utf-8")
    plan = yaml.safe_load(text.partition("## A table of your own")[2].partition("```yaml\n")[2].partition("```")[0])
    (tmp_path / "my_plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    return tmp_path


def rows(folder: Path) -> dict[str, float]:
    assert tables.main(["mine", "--plan", "my_plan.yaml", "--count", "4", "--out", "results"]) == 0
    found = json.loads((folder / "results/table.json").read_text())["rows"]
    assert {row["pairs"] for row in found} == {4}
    return {row["method"]: row["pixel_error"] for row in found}


def test_the_documented_plan_has_the_other_program_as_a_row_and_tests_its_file_anew_when_it_changes(folder):
    write(folder / "predictions.csv")
    first = rows(folder)
    assert first["deeplabcut"] == pytest.approx(0, abs=1e-4)
    assert set(first) == {"copy-xy", "deeplabcut"}
    write(folder / "predictions.csv", shift=2)
    again = rows(folder)
    assert again["deeplabcut"] == pytest.approx(8**0.5 * 70 / 224, abs=1e-4)
    assert again["copy-xy"] == first["copy-xy"]
    assert (folder / "results/table.md").read_text().count("deeplabcut") >= 1


def test_a_test_on_a_part_of_the_pairs_leaves_that_on_all_alone_and_lists_are_drawn_once(folder, monkeypatch):
    write(folder / "predictions.csv")
    drawn = []
    whole = FacePairs.list_hashes
    monkeypatch.setattr(FacePairs, "list_hashes", lambda data: drawn.append(data) or whole(data))
    assert tables.main(["mine", "--plan", "my_plan.yaml", "--out", "all"]) == 0
    assert len(set(map(id, drawn))) == 2  # for two rows: one for their keys, and one with images
    files = {path: path.read_bytes() for path in (folder / "runs").rglob("eval/*/*") if path.is_file()}
    assert {path.name for path in files} == {"predictions.csv", "metrics.json", "cell.json"}
    assert tables.main(["mine", "--plan", "my_plan.yaml", "--count", "3", "--out", "part"]) == 0
    assert {path: path.read_bytes() for path in (folder / "runs").rglob("eval/*/*") if path.is_file()} == files
    for out, count in (("all", 4), ("part", 3)):
        assert {row["pairs"] for row in json.loads((folder / out / "table.json").read_text())["rows"]} == {count}


def test_the_key_of_a_test_holds_the_files_that_its_arguments_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "paths.yaml").write_text("b: a.csv\n")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of the letter x
    found = file_hashes({"file": {"dog": "a.csv", "cat": "own/b"}, "reader": "folder", "options": {"k": [3, ""]}})
    assert found == {"a.csv": digest, "own/b": digest}
