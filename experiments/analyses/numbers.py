"""Errors of each landmark, left/right swaps and PCK curves of several methods, with intervals.

Values are first averaged over the seeds of a method, point by point. The interval is a bootstrap of that mean over
pairs, as in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.bootstrap import ratio_intervals
from dife_lightning.metrics.pck import Normalizer, normalized_errors, pck_area, pck_hits, thresholds
from dife_lightning.metrics.predictions import PointTable
from dife_lightning.metrics.swaps import swap_events
from experiments.analyses.sets import AnalysisSet

Row = dict[str, Any]
Array = NDArray[np.float64]
#: (N, K) values and which of them count.
Values = tuple[Array, NDArray[np.bool_]]
#: Name of all landmarks together.
ALL = "all"


def over_seeds(tables: Sequence[PointTable], value: Callable[[PointTable], Values]) -> Values:
    """Return the mean of ``value`` over tables of the same points; the same points count in all tables."""
    found = [value(table) for table in tables]
    counted = found[0][1]
    return np.mean([np.where(counted, values, 0.0) for values, _ in found], axis=0), counted


def column_rows(sums: Array, counts: Array, resamples: int, *, name: str) -> list[Row]:
    """Return mean (as ``name``), interval and points of each column of (N, M); None where a column has no point."""
    ends = ratio_intervals(sums, counts, resamples=resamples)
    rows = []
    for m in range(sums.shape[1]):
        points = counts[:, m].sum()
        known = points > 0
        mean = float(sums[:, m].sum() / points) if known else None
        rows.append({name: mean, "ci95": [float(end) for end in ends[m]] if known else None, "points": int(points)})
    return rows


def landmark_rows(one: AnalysisSet, resamples: int) -> list[Row]:
    """Return method x landmark -> error in px of a 70-px crop."""
    rows = []
    for method, tables in one.tables.items():
        values, counted = over_seeds(tables, lambda table: (table.errors, table.visible))
        rows += _with_all(
            one, method, one.first.landmarks, values, counted.astype(np.float64), resamples, "pixel_error"
        )
    return rows


def _with_all(
    one: AnalysisSet, method: str, names: Sequence[str], sums: Array, counts: Array, resamples: int, value: str
) -> list[Row]:
    """Return a row for each column of (N, K) sums and counts, and one for all columns together."""
    sums, counts = (np.concatenate((array, array.sum(1, keepdims=True)), axis=1) for array in (sums, counts))
    start, end = {"method": method, "pair": one.pair}, {"seeds": len(one.tables[method])}
    found = column_rows(sums, counts, resamples, name=value)
    return [{**start, "landmark": name, **row, **end} for name, row in zip((*names, ALL), found, strict=True)]


def swap_rows(one: AnalysisSet, resamples: int) -> list[Row]:
    """Return method x pair of landmarks -> share of points that are closer to the true position of their partner.

    The two points of a pair are counted together, under their name without ``left`` and ``right``.

    Raises:
        DataError: the landmarks are not those of the protocol.
    """
    protocol, landmarks = get_protocol(one.protocol), one.first.landmarks
    if landmarks != protocol.landmarks:
        expected = f"those of {one.protocol} ({', '.join(protocol.landmarks)})"
        raise DataError(f"{one.pair}: landmarks {', '.join(landmarks)} are not {expected}")
    flips = protocol.flip_pairs
    names = ["_".join(w for w in landmarks[a].split("_") if w not in ("left", "right")) for a, _ in flips]
    rows = []
    for method, tables in one.tables.items():
        values = over_seeds(tables, lambda table: swap_events(table, flips))
        sums, counts = (np.stack([v[:, list(pair)].sum(1) for pair in flips], 1).astype(np.float64) for v in values)
        rows += _with_all(one, method, names, sums, counts, resamples, "swap_rate")
    return rows


def pck_rows(one: AnalysisSet, resamples: int, by: Normalizer) -> tuple[list[Row], list[Row]]:
    """Return method x threshold -> PCK, and method -> area under the curve, 0 to 1."""
    at = thresholds()
    curve, areas = [], []
    for method, tables in one.tables.items():
        start = {"method": method, "pair": one.pair}
        normalized = [normalized_errors(table, by) for table in tables]
        counted = normalized[0][1]
        hits = np.mean([pck_hits(errors, counted, at) for errors, _ in normalized], axis=0)
        counts = np.broadcast_to(counted.sum(1, dtype=np.float64)[:, None], hits.shape)
        found = column_rows(hits, counts, resamples, name="pck")
        curve += [{**start, "threshold": float(t), **row} for t, row in zip(at, found, strict=True)]
        values = np.mean([np.where(counted, pck_area(errors), 0.0) for errors, _ in normalized], axis=0)
        (area,) = column_rows(values.sum(1, keepdims=True), counts[:, :1], resamples, name="area")
        areas.append({**start, **area, "seeds": len(tables)})
    return curve, areas
