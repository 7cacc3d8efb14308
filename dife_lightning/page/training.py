"""A training of `dife landmarks` on the photos that were corrected on a page: in a process of its own."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError
from dife_lightning.page.photos import PagePhotos
from dife_lightning.utils.files import atomic_write

#: Labelled photos that a training needs.
FEWEST = 5
#: A face's box relative to its square: `dife landmarks` enlarges boxes by 1.2.
BOX = 1 / 1.2
Box = tuple[float, float, float, float]


class PageTraining:
    """Trains on corrected photos, and reads the landmarks that the model finds on all photos of the folder.

    Args:
        photos: of the page.
        runs_root: folder of the runs.
        options: further words for ``dife landmarks``, such as ``--steps 200``.
    """

    def __init__(self, photos: PagePhotos, runs_root: str | Path = "runs", options: Sequence[str] = ()) -> None:
        self.photos, self.runs_root, self.options = photos, Path(runs_root), list(options)
        self._process: subprocess.Popen[str] | None = None
        self._run, self._said, self._lock = "", [""], threading.Lock()

    def start(self, names: Sequence[str], faces: Mapping[int, Any], squares: Mapping[int, Sequence[float]]) -> None:
        """Start a training.

        Args:
            names: of the landmarks.
            faces: number of a photo -> its points, [x, y] or None; only photos of the folder count.
            squares: number of a photo -> its face, x0, y0, x1, y1.

        Raises:
            ConfigError: a training is running, or there are fewer than 5 labelled photos.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise ConfigError("a training is running already; wait for it, or stop it")
            files = {k: name for k, name in enumerate(self.photos.names()) if self.photos[k].file is not None}
            labelled = {k: points for k, points in faces.items() if k in files and k in squares and any(points)}
            if len(labelled) < FEWEST:
                raise ConfigError(
                    f"{len(labelled)} photos of the folder are marked as right; a training needs {FEWEST} or more"
                )
            self._run = time.strftime("page-%Y%m%d-%H%M%S")
            folder = self.runs_root / f"{self._run}-labels"
            boxes = {k: _box(square) for k, square in squares.items() if k in files}
            _write_labels(folder / "labels.csv", names, labelled, boxes, files)
            _write_boxes(folder / "boxes.csv", boxes, files)
            words = ["landmarks", str(folder / "labels.csv"), "--images", str(self.photos.folder)]
            words += ["--boxes", str(folder / "boxes.csv"), "--run", self._run, "--runs_root", str(self.runs_root)]
            command = [sys.executable, "-m", "dife_lightning", *words, *self.options]
            pipes: dict[str, Any] = {
                "stdout": subprocess.PIPE,
                "stderr": subprocess.STDOUT,
                "stdin": subprocess.DEVNULL,
            }
            self._process = subprocess.Popen(command, text=True, errors="replace", **pipes)
            self._said = [""]
            threading.Thread(target=self._listen, args=(self._process, self._said), daemon=True).start()

    @staticmethod
    def _listen(process: subprocess.Popen[str], said: list[str]) -> None:
        """Keep the last line that a training says."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if text := line.strip():
                    said[0] = text[:300]

    def status(self) -> dict[str, Any]:
        """Return ``state`` (none, running, done or failed), the steps that are done, and the last line of output."""
        if self._process is None:
            return {"state": "none", "run": "", "step": 0, "said": ""}
        code = self._process.poll()
        state = "running" if code is None else "done" if code == 0 else "failed"
        return {"state": state, "run": str(self.runs_root / self._run), "step": self._step(), "said": self._said[0]}

    def _step(self) -> int:
        try:
            with (self.runs_root / self._run / "metrics.csv").open(newline="", encoding="utf-8") as file:
                return max((int(row["step"]) + 1 for row in csv.DictReader(file) if row.get("step")), default=0)
        except (OSError, ValueError):
            return 0

    def stop(self) -> None:
        """End a running training; its checkpoint is kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def points(self) -> dict[int, list[list[float] | None]]:
        """Return the landmarks that the trained model found, by number of the photo; ConfigError before it is done."""
        if self.status()["state"] != "done":
            raise ConfigError("no training is done")
        numbers = {name: k for k, name in enumerate(self.photos.names()) if self.photos[k].file is not None}
        found: dict[int, list[list[float] | None]] = {}
        with (self.runs_root / self._run / "eval/predict/landmarks.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["image"] not in numbers:  # the folder may have photos that the page does not show
                    continue
                places = [key.removesuffix("_x") for key in row if key.endswith("_x")]  # of boxes: _x0, _x1
                cells = [(row[f"{name}_x"], row[f"{name}_y"]) for name in places]
                found[numbers[row["image"]]] = [[float(x), float(y)] if x else None for x, y in cells]
        return found


def _box(square: Sequence[float]) -> Box:
    """Return the box of a face, from its square x0, y0, x1, y1."""
    x, y, half = (square[0] + square[2]) / 2, (square[1] + square[3]) / 2, BOX * (square[2] - square[0]) / 2
    return x - half, y - half, x + half, y + half


def _write_labels(
    path: Path, names: Sequence[str], faces: Mapping[int, Any], boxes: Mapping[int, Box], files: Mapping[int, str]
) -> None:
    head = ["image", *(f"{name}_{axis}" for name in names for axis in "xy"), *_BOX]
    rows = []
    for k, points in faces.items():
        pairs = [("", "") if one is None else (f"{float(one[0]):.2f}", f"{float(one[1]):.2f}") for one in points]
        rows.append([files[k], *(cell for pair in pairs for cell in pair), *(f"{value:.2f}" for value in boxes[k])])
    _write(path, head, rows)


def _write_boxes(path: Path, boxes: Mapping[int, Box], files: Mapping[int, str]) -> None:
    _write(path, ["image", *_BOX], [[files[k], *(f"{value:.2f}" for value in box)] for k, box in boxes.items()])


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
