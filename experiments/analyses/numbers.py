"""Errors of each landmark, left/right swaps and PCK curves of several methods, each number with its interval.

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
    """Return the mean over tables of the same points of what ``value`` gives; what counts is the same in all."""
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


def with_all(values: Array, counted: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return (N, K + 1) sums and counts of each landmark, and of all of them together in the last column."""
    sums, counts = np.where(counted, values, 0.0), counted.astype(np.float64)
    return (
        np.concatenate((sums, sums.sum(1, keepdims=True)), axis=1),
        np.concatenate((counts, counts.sum(1, keepdims=True)), axis=1),
    )


def landmark_rows(one: AnalysisSet, resamples: int) -> list[Row]:
    """Return method x landmark -> error in px of a 70-px crop."""
    rows = []
    for method, tables in one.tables.items():
        values, counted = over_seeds(tables, lambda table: (table.errors, table.visible))
        found = column_rows(*with_all(values, counted), resamples, name="pixel_error")
        for landmark, row in zip((*one.first.landmarks, ALL), found, strict=True):
            rows.append({"method": method, "pair": one.pair, "landmark": landmark, **row, "seeds": len(tables)})
    return rows


def swap_rows(one: AnalysisSet, resamples: int) -> list[Row]:
    """Return method x pair of landmarks -> share of points that lie nearer to their partner's true place.

    The two points of a pair count together, under the name that is left when left and right are taken away.
    """
    flips = get_protocol(one.protocol).flip_pairs
    _check_landmarks(one)
    names = [_sideless(one.first.landmarks[a]) for a, _ in flips]
    rows = []
    for method, tables in one.tables.items():
        values, counted = over_seeds(tables, lambda table: swap_events(table, flips))
        both = [np.stack([array[:, list(pair)].sum(1) for pair in flips], 1) for array in (values, counted)]
        sums, counts = (np.concatenate((array, array.sum(1, keepdims=True)), 1) for array in both)
        found = column_rows(sums, counts.astype(np.float64), resamples, name="swap_rate")
        for landmark, row in zip((*names, ALL), found, strict=True):
            rows.append({"method": method, "pair": one.pair, "landmark": landmark, **row, "seeds": len(tables)})
    return rows


def _check_landmarks(one: AnalysisSet) -> None:
    known = get_protocol(one.protocol).landmarks
    if one.first.landmarks != known:
        found = ", ".join(one.first.landmarks)
        raise DataError(f"{one.pair}: landmarks {found} are not those of {one.protocol} ({', '.join(known)})")


def _sideless(name: str) -> str:
    return "_".join(word for word in name.split("_") if word not in ("left", "right"))


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
