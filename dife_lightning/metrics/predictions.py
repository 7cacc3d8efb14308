"""Reads and writes the table of predictions of a test; every reported number can be recomputed from it."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import Protocol, get_protocol, layout_part
from dife_lightning.metrics.bootstrap import Units
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
#: Further columns for photographs: the person, animal or photo of the pair's source and target.
UNIT_COLUMNS = ("source_unit", "target_unit")


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

    ``truth`` and ``predicted`` are (N, K, 2) float64, x then y, pixels of the target images; ``units`` (N, 2) the
    person, animal or photo of source and target, None where the file does not say.
    """

    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    units: Units | None = None

    def take(self, rows: Sequence[int]) -> PointTable:
        """Return the pairs of these rows, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        names = tuple(self.pair_ids[i] for i in at)
        units = None if self.units is None else self.units[at]
        points = self.truth[at], self.predicted[at]
        return PointTable(names, self.landmarks, self.errors[at], self.visible[at], *points, units)


def prediction_rows(
    records: Records,
    pair_ids: Mapping[int, str],
    pair: str,
    list_name: str,
    framing: str,
    protocols: Iterable[str | Protocol],
    units: Sequence[tuple[str, str]] | None = None,
) -> Iterator[tuple[str | int, ...]]:
    """Yield the rows of one set, in the order of ``COLUMNS``, and with ``units`` of ``UNIT_COLUMNS``.

    ``pair_ids[i]`` is the name of pair i, ``units[i]`` the units of its two faces.
    """
    for protocol in protocols:
        part, names = layout_part(protocol), get_protocol(protocol).landmarks
        predicted, truth = records.predicted[:, part], records.truth[:, part]
        errors = pixel_errors(predicted, truth, records.side).tolist()
        values = zip(truth.tolist(), predicted.tolist(), errors, records.visible[:, part].tolist(), strict=True)
        for index, row in zip(records.index.tolist(), values, strict=True):
            start = (pair_ids[index], pair, list_name, framing, get_protocol(protocol).name)
            for name, (tx, ty), (px, py), error, seen in zip(names, *row, strict=True):
                numbers = (f"{tx:.4f}", f"{ty:.4f}", f"{px:.4f}", f"{py:.4f}", f"{error:.6f}")
                yield (*start, name, *numbers, int(seen), *(units[index] if units else ()))


def write_predictions(path: str | Path, rows: Iterable[tuple[str | int, ...]]) -> None:
    """Write the table as CSV, atomically; the first row says whether there are units."""
    rows = iter(rows)
    first = next(rows, ())
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS + (UNIT_COLUMNS if len(first) > len(COLUMNS) else ()))
        writer.writerows(itertools.chain([first] if first else [], rows))


#: truth x and y, predicted x and y, error
_Point = tuple[float, float, float, float, float]
_NUMBERS = ("truth_x", "truth_y", "predicted_x", "predicted_y", "error")
_VISIBLE = {"0": False, "1": True}


class _Rows(dict[str, dict[str, tuple[_Point, bool]]]):
    """pair_id -> landmark -> point, and whether it is visible; ``units``: pair_id -> units of the pair."""

    def __init__(self) -> None:
        super().__init__()
        self.units: dict[str, tuple[str, str]] = {}


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
        table = tables.setdefault((row["pair"], row["list"], row["framing"], row["protocol"]), _Rows())
        if all(row.get(name) for name in UNIT_COLUMNS):
            table.units[row["pair_id"]] = row[UNIT_COLUMNS[0]], row[UNIT_COLUMNS[1]]
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
    units = np.array([rows.units[pair_id] for pair_id in rows]) if len(rows.units) == len(rows) else None
    return PointTable(tuple(rows), landmarks, errors, visible, truth, predicted, units)


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
