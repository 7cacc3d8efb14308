"""A training that is started from the page: on corrected photos of the folder, with progress and landmarks."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from dife_lightning.page.matching import PageMatcher
from dife_lightning.page.photos import PagePhotos
from dife_lightning.page.server import Page
from dife_lightning.page.training import PageTraining
from tests.cli.test_own_landmarks import write_photos

NAMES = ["left_eye", "right_eye", "nose"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path, photos=7)
    return tmp_path


def page_of(folder: Path, *options: str) -> TestClient:
    """Return a client of a page whose faces are whole photos of 80 x 70 px."""
    photos = PagePhotos(folder / "photos")
    matcher = PageMatcher(photos)
    for number in range(len(photos)):
        matcher.set_box(number, [0, -5, 80, 75])
    page = Page(photos, matcher, PageTraining(photos, folder / "runs", options))
    return TestClient(page.app(["127.0.0.1"]), base_url="http://127.0.0.1")


def labels(folder: Path, count: int) -> dict[str, list[list[float]]]:
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {str(k): np.reshape(row[1:], (3, 2)).astype(float).tolist() for k, row in enumerate(rows[:count])}


def until_over(client: TestClient, seconds: float = 240) -> dict:
    end = time.monotonic() + seconds
    while (status := client.get("/api/training").json())["state"] == "running":
        assert time.monotonic() < end, status
        time.sleep(0.3)
    return status


@pytest.mark.slow
def test_corrected_photos_are_trained_on_and_all_get_landmarks(folder):
    client = page_of(folder, "--steps", "2", "--label_next", "0")
    assert client.get("/api/training").json()["state"] == "none"
    started = client.post("/api/training", json={"names": NAMES, "faces": labels(folder, 5)}).json()
    assert started["state"] == "running"
    again = client.post("/api/training", json={"names": NAMES, "faces": labels(folder, 5)})
    assert "running already" in again.json()["error"]
    assert "no training is done" in client.get("/api/training/points").json()["error"]
    status = until_over(client)
    assert status["state"] == "done", status
    assert status["step"] >= 1
    found = client.get("/api/training/points").json()["found"]
    assert sorted(found) == [str(k) for k in range(7)]
    assert all(len(points) == 3 for points in found.values())
    with next((folder / "runs").glob("page-*-labels/labels.csv")).open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["image"] for row in written] == [f"p{k}.png" for k in range(5)]
    assert float(written[0]["box_x1"]) - float(written[0]["box_x0"]) == pytest.approx(80 / 1.2, abs=0.1)


def test_too_few_photos_and_a_stopped_training_are_said(folder, monkeypatch):
    client = page_of(folder)
    told = client.post("/api/training", json={"names": NAMES, "faces": labels(folder, 4)}).json()
    assert "4 photos of the folder are marked as right; a training needs 5 or more" in told["error"]
    assert client.post("/api/training", json={"names": NAMES}).status_code == 400
    assert not (folder / "runs").exists()
    monkeypatch.setattr("sys.executable", "/bin/cat")  # a program that ends at once, with an error
    assert client.post("/api/training", json={"names": NAMES, "faces": labels(folder, 5)}).status_code == 200
    assert until_over(client)["state"] == "failed"
    assert client.post("/api/training/stop", json={}).json()["state"] == "failed"
