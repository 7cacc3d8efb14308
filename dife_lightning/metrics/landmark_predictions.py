"""Writes the table of found landmarks of a test, from which every reported number can be computed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.faces.items import PictureCrop
from dife_lightning.metrics.landmark_error import FaceErrors, FaceRecords
from dife_lightning.utils.files import atomic_write

#: Points are in pixels of ``picture``, errors in percent of the face's length. Fields are empty where nothing is known:
#: the truth and error of a point that does not count, the NME of a face that is not scored, an unknown subject.
COLUMNS = (
    "face",
    "domain",
    "list",
    "framing",
    "picture",
    "subject",
    "landmark",
    "truth_x",
    "truth_y",
    "predicted_x",
    "predicted_y",
    "score",
    "counted",
    "error",
    "nme",
)


def detection_rows(
    records: FaceRecords,
    errors: FaceErrors,
    scores: NDArray[np.float32],
    names: Sequence[str],
    crops: Sequence[PictureCrop],
    subjects: Sequence[str],
    landmarks: Sequence[str],
    place: tuple[str, str, str],
) -> Iterator[tuple[str | int, ...]]:
    """Yield one row for each landmark of each face, in the order of ``COLUMNS``.

    Args:
        records: N faces with K landmarks.
        errors: theirs.
        scores: (N, K) of the points.
        names: of the N faces.
        crops: of the N faces, which map their points to the pictures.
        subjects: of the N faces; empty where they are unknown.
        landmarks: names of the K landmarks.
        place: domain, list and framing.
    """
    for row, (name, crop, subject) in enumerate(zip(names, crops, subjects, strict=True)):
        truth, found = (crop.picture_points(points[row].numpy()) for points in (records.truth, records.predicted))
        nme = f"{float(errors.nme[row]):.6f}" if errors.scored[row] else ""
        for k, landmark in enumerate(landmarks):
            counted = bool(errors.counted[row, k])
            known = [f"{value:.4f}" for value in truth[k].tolist()] if counted else ["", ""]
            where = [f"{value:.4f}" for value in found[k].tolist()]
            error = f"{float(errors.points[row, k]):.6f}" if counted else ""
            values: tuple[str | int, ...] = (*known, *where, f"{float(scores[row, k]):.6f}", int(counted), error, nme)
            yield (name, *place, crop.file_name, subject, landmark, *values)


def write_detections(path: str | Path, rows: Iterable[tuple[str | int, ...]]) -> None:
    """Write the table as CSV, atomically."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
