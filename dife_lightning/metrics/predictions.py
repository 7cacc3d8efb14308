"""Reads and writes the table of predictions of a test; every reported number can be recomputed from it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import Protocol, get_protocol, layout_part
from dife_lightning.metrics.keypoint_transfer import Records, pixel_errors
from dife_lightning.utils.files import atomic_write

COLUMNS = (
    "pair_id",
    "pair",
    "list",
    "framing",
    "protocol",
    "landmark",
    "truth_x",
    "truth_y",
    "predicted_x",
    "predicted_y",
    "error",
    "visible",
)


@dataclass(frozen=True)
class PredictionTable:
    """The errors of one set and protocol of a predictions file, pairs in file order.

    ``errors`` (N, K) float64 in pixels of a 70-px crop, ``visible`` (N, K).
    """

    pair_ids: tuple[str, ...]
    landmarks: tuple[str, ...]
    errors: NDArray[np.float64]
    visible: NDArray[np.bool_]

    @property
    def pixel_error(self) -> float:
        """Mean error over all visible points."""
        return float(self.errors[self.visible].mean())


@dataclass(frozen=True)
class PointTable(PredictionTable):
    """A :class:`PredictionTable` with the points themselves.

    ``truth`` and ``predicted`` are (N, K, 2) float64, x then y, pixels of the target images.
    """

    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]

    def take(self, rows: Sequence[int]) -> PointTable:
        """Return the pairs of these rows, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        names = tuple(self.pair_ids[i] for i in at)
        return PointTable(names, self.landmarks, self.errors[at], self.visible[at], self.truth[at], self.predicted[at])


def prediction_rows(
    records: Records,
    pair_ids: Mapping[int, str],
    pair: str,
    list_name: str,
    framing: str,
    protocols: Iterable[str | Protocol],
) -> Iterator[tuple[str | int, ...]]:
    """Yield the rows of one set, in the order of ``COLUMNS``; ``pair_ids[i]`` is the name of pair i."""
    for protocol in protocols:
        part, names = layout_part(protocol), get_protocol(protocol).landmarks
        predicted, truth = records.predicted[:, part], records.truth[:, part]
        errors = pixel_errors(predicted, truth, records.side).tolist()
        values = zip(truth.tolist(), predicted.tolist(), errors, records.visible[:, part].tolist(), strict=True)
        for index, row in zip(records.index.tolist(), values, strict=True):
            start = (pair_ids[index], pair, list_name, framing, get_protocol(protocol).name)
            for name, (tx, ty), (px, py), error, seen in zip(names, *row, strict=True):
                numbers = (f"{tx:.4f}", f"{ty:.4f}", f"{px:.4f}", f"{py:.4f}", f"{error:.6f}")
                yield (*start, name, *numbers, int(seen))


def write_predictions(path: str | Path, rows: Iterable[tuple[str | int, ...]]) -> None:
    """Write the table as CSV, atomically."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


#: truth x and y, predicted x and y, error
_Point = tuple[float, float, float, float, float]
_NUMBERS = ("truth_x", "truth_y", "predicted_x", "predicted_y", "error")
_VISIBLE = {"0": False, "1": True}


#: pair_id -> landmark -> point, and whether it is visible
_Rows = dict[str, dict[str, tuple[_Point, bool]]]
Key = tuple[str, str, str, str]


def read_predictions(path: str | Path) -> dict[Key, PointTable]:
    """Read a predictions file.

    Returns:
        A table for each (pair, list, framing, protocol).

    Raises:
        DataError: the file is missing, has other columns, or is truncated or otherwise damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no predictions at {path}: run `dife test` first, or name the predictions.csv that it wrote")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            tables = _read_rows(csv.DictReader(file), path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a table ({' '.join(str(error).split())}): run the test again"
        ) from None
    return {key: _finish(rows, path) for key, rows in tables.items()}


def _read_rows(reader: csv.DictReader[str], path: Path) -> dict[Key, _Rows]:
    missing = sorted(set(COLUMNS) - set(reader.fieldnames or ()))
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}: expected a predictions.csv of `dife test`")
    tables: dict[Key, _Rows] = {}
    for row in reader:
        try:
            tx, ty, px, py, error = (float(row[name]) for name in _NUMBERS)
            seen = _VISIBLE[row["visible"]]
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"{path}, line {reader.line_num}: not a row of predictions; the file is damaged, run the test again"
            ) from None
        if seen and not all(map(math.isfinite, (tx, ty, px, py, error))):
            raise DataError(f"{path}, line {reader.line_num}: a visible point is not finite; the method failed there")
        table = tables.setdefault((row["pair"], row["list"], row["framing"], row["protocol"]), {})
        table.setdefault(row["pair_id"], {})[row["landmark"]] = ((tx, ty, px, py, error), seen)
    return tables


def _finish(rows: _Rows, path: Path) -> PointTable:
    landmarks = tuple(dict.fromkeys(name for points in rows.values() for name in points))
    for pair_id, points in rows.items():
        if len(points) != len(landmarks):
            found = f"{len(points)} of {len(landmarks)} landmarks of {pair_id}"
            raise DataError(f"{path} has {found}: the file is damaged, test again")
    cells = [[points[name] for name in landmarks] for points in rows.values()]
    values = np.array([[point for point, _ in row] for row in cells], dtype=np.float64)
    visible = np.array([[seen for _, seen in row] for row in cells], dtype=bool)
    errors, truth, predicted = values[..., 4], values[..., :2], values[..., 2:4]
    return PointTable(tuple(rows), landmarks, errors, visible, truth, predicted)


def align(a: PredictionTable, b: PredictionTable) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return errors of a, errors of b and visibility, (N, K), with the pairs in the order of ``a``.

    DataError if the two hold different points or pairs.
    """
    if set(a.pair_ids) != set(b.pair_ids) or a.landmarks != b.landmarks:
        raise DataError("the two prediction tables hold different pairs or landmarks: test both on the same lists")
    row = {pair_id: i for i, pair_id in enumerate(b.pair_ids)}
    order = [row[pair_id] for pair_id in a.pair_ids]
    if not np.array_equal(a.visible, b.visible[order]):
        raise DataError("the two prediction tables differ in visible points: test both on the same lists")
    return a.errors, b.errors[order], a.visible
