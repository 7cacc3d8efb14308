"""The table of predictions that a test writes, and its reader: every reported number can be recomputed from it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.files import atomic_write
from dife_lightning.metrics.keypoint_transfer import Records, pixel_errors
from dife_lightning.schemes import LAYOUT, get_protocol

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
    """One set and protocol of a predictions file: pairs in file order.

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


def prediction_rows(
    records: Records, pair_ids: Mapping[int, str], pair: str, list_name: str, framing: str, protocols: Iterable[str]
) -> Iterator[tuple[str | int, ...]]:
    """Yield the rows of ``COLUMNS`` for one set; ``pair_ids[i]`` names the pair with number i."""
    for protocol in protocols:
        part, names = LAYOUT[protocol], get_protocol(protocol).landmarks
        predicted, truth = records.predicted[:, part], records.truth[:, part]
        errors = pixel_errors(predicted, truth, records.side).tolist()
        values = zip(truth.tolist(), predicted.tolist(), errors, records.visible[:, part].tolist(), strict=True)
        for index, row in zip(records.index.tolist(), values, strict=True):
            start = (pair_ids[index], pair, list_name, framing, protocol)
            for name, (tx, ty), (px, py), error, seen in zip(names, *row, strict=True):
                numbers = (f"{tx:.4f}", f"{ty:.4f}", f"{px:.4f}", f"{py:.4f}", f"{error:.6f}")
                yield (*start, name, *numbers, int(seen))


def write_predictions(path: str | Path, rows: Iterable[tuple[str | int, ...]]) -> None:
    """Write the table as CSV, atomically."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


@dataclass
class _Growing:
    landmarks: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, dict[str, tuple[float, bool]]] = field(default_factory=dict)


Key = tuple[str, str, str, str]


def read_predictions(path: str | Path) -> dict[Key, PredictionTable]:
    """Read a predictions file.

    Returns:
        A table for each (pair, list, framing, protocol).

    Raises:
        DataError: missing file, or one without the expected columns.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no predictions at {path}: run `dife test` first, or give the predictions.csv that it wrote")
    tables: dict[Key, _Growing] = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = sorted(set(COLUMNS) - set(reader.fieldnames or ()))
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}: expected a predictions.csv of `dife test`")
        for row in reader:
            table = tables.setdefault((row["pair"], row["list"], row["framing"], row["protocol"]), _Growing())
            table.landmarks.setdefault(row["landmark"], len(table.landmarks))
            points = table.pairs.setdefault(row["pair_id"], {})
            points[row["landmark"]] = (float(row["error"]), row["visible"] == "1")
    return {key: _finish(table) for key, table in tables.items()}


def _finish(table: _Growing) -> PredictionTable:
    absent = (0.0, False)
    cells = [[points.get(name, absent) for name in table.landmarks] for points in table.pairs.values()]
    errors = np.array([[error for error, _ in row] for row in cells], dtype=np.float64)
    visible = np.array([[seen for _, seen in row] for row in cells], dtype=bool)
    return PredictionTable(tuple(table.pairs), tuple(table.landmarks), errors, visible)


def align(a: PredictionTable, b: PredictionTable) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return errors of a, errors of b and visibility, (N, K), with the pairs in the order of ``a``.

    Raises:
        DataError: the two are not about the same points of the same pairs.
    """
    if set(a.pair_ids) != set(b.pair_ids) or a.landmarks != b.landmarks:
        raise DataError("the two prediction tables hold different pairs or landmarks: test both on the same lists")
    row = {pair_id: i for i, pair_id in enumerate(b.pair_ids)}
    order = [row[pair_id] for pair_id in a.pair_ids]
    if not np.array_equal(a.visible, b.visible[order]):
        raise DataError("the two prediction tables differ in visible points: test both on the same lists")
    return a.errors, b.errors[order], a.visible
