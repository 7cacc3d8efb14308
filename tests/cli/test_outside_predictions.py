"""``dife test`` of what another program predicted: the documented configuration on a small folder of photos."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  (before a test captures the streams that its loggers keep)
import pytest
import yaml
from PIL import Image

from dife_lightning.cli.main import main

#: Photo -> left eye, right eye and nose as the viewer sees them, typed by hand; 400 x 300 px.
TRUTH = {
    "a.jpg": [(100, 100), (200, 104), (150, 160)],
    "b.jpg": [(220, 90), (300, 90), (262, 150)],
    "c.jpg": [(60, 150), (160, 140), (110, 210)],
    "sub/d.jpg": [(140, 80), (240, 90), (190, 140)],
}
NAMES = ("left_eye", "right_eye", "nose")
#: The side of a crop: 2.8 times the largest extent of the points, here that of the eyes (a: 100 px, ...).
SIDES = {"a.jpg": 280.0, "b.jpg": 224.0, "c.jpg": 280.0, "sub/d.jpg": 280.0}
SOURCE, SIZE = "s.jpg", 64


def write_photos(folder: Path, truth: dict[str, list[tuple[float, float]]], names: tuple[str, ...] = NAMES) -> None:
    lines = ["image," + ",".join(f"{name}_{axis}" for name in names for axis in "xy")]
    for image, points in truth.items():
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / image).exists():
            Image.new("RGB", (400, 300), (90, 90, 90)).save(folder / image)
        lines.append(",".join([image, *(f"{value}" for point in points for value in point)]))
    (folder / "points.csv").write_text("\n".join(lines) + "\n")


def documented() -> dict[str, Any]:
    """The configuration of docs/photographs.md."""
    text = (Path(__file__).parents[2] / "docs/photographs.md").read_text(encoding="utf-8")
    section = text.partition("## Predictions of other programs")[2]
    return dict(yaml.safe_load(section.partition("```yaml\n")[2].partition("```")[0]))


Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "photos", TRUTH)
    sources = {f"s{k}.jpg": [(100.0, 100.0), (200.0, 100.0), (150.0, 160.0)] for k in range(len(TRUTH))}
    write_photos(tmp_path / "sources", sources)
    return tmp_path


@pytest.fixture
def run(photos: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Test the file of predictions; returns the exit code, ``metrics.json`` and what was said."""

    def call(protocol: str = "3-point", count: int = 4, verb: str = "test", domains: Any = None, **changes: Any) -> Any:
        domains = {
            "dog": {"dataset": "folder", "root": "sources"},
            "cat": {"dataset": "folder", "root": "photos"},
        } | (domains or {})
        arguments = {"domains": domains, "pairs": ["dog+cat"], "protocol": protocol, "count": count, "size": SIZE}
        data = {"class_path": "FacePairs", "init_args": arguments}
        trainer = {"accelerator": "cpu", "logger": False, "callbacks": [{"class_path": "KeypointTransfer"}]}
        (photos / "faces.yaml").write_text(yaml.safe_dump({"data": data, "trainer": trainer}))
        content = documented()
        content["model"]["init_args"] |= changes
        (photos / "other.yaml").write_text(yaml.safe_dump(content))
        capsys.readouterr()
        code = main([verb, "--config", "faces.yaml", "--config", "other.yaml", "--out", "out"])
        path = photos / "out/metrics.json"
        return code, json.loads(path.read_text()) if path.exists() else {}, capsys.readouterr().err

    return call


def errors(folder: Path) -> dict[str, list[float]]:
    """The errors of each photo, in px of a crop scaled to 70 px."""
    found: dict[str, list[float]] = {}
    with open(folder / "out/predictions.csv", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["pair_id"].partition(">")[2], []).append(float(row["error"]))
    return found


def write_csv(path: Path, points: dict[str, Any], names: tuple[str, ...] = NAMES, **columns: list[str]) -> None:
    lines = [",".join(["image", *columns, *(f"{name}_{axis}" for name in names for axis in "xy")])]
    for k, (image, own) in enumerate(points.items()):
        more = [values[k] for values in columns.values()]
        lines.append(",".join([image, *more, *("" if v is None else str(v) for point in own for v in point)]))
    path.write_text("\n".join(lines) + "\n")


def moved(x: float, y: float) -> dict[str, list[tuple[float, float]]]:
    return {image: [(a + x, b + y) for a, b in points] for image, points in TRUTH.items()}


def test_what_equals_the_annotations_has_no_error(run, photos):
    write_csv(photos / "predictions.csv", TRUTH)
    code, result, _ = run()
    assert code == 0
    (row,) = result["rows"]
    assert (row["method"], row["pair"], row["pairs"]) == ("DeepLabCut", "dog+cat", 4)
    assert row["pixel_error"] == pytest.approx(0, abs=1e-4)


def test_a_shift_of_3_and_4_px_is_an_error_of_5_px_of_the_photo(run, photos):
    write_csv(photos / "predictions.csv", moved(3, 4))
    assert run()[0] == 0
    for image, found in errors(photos).items():
        assert found == pytest.approx([5 * 70 / SIDES[image]] * 3, abs=1e-3)


def test_the_row_stands_on_the_same_pairs_as_that_of_a_method(run, photos):
    write_csv(photos / "predictions.csv", TRUTH)
    ours = run()[1]["rows"][0]
    assert main(["test", "--config", "faces.yaml", "--model", "CopyXY", "--out", "copied"]) == 0
    theirs = json.loads((photos / "copied/metrics.json").read_text())["rows"][0]
    assert ours["list_hash"] == theirs["list_hash"]
    assert ours.keys() == theirs.keys()
    assert theirs["pixel_error"] > 1
