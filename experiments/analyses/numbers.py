"""Errors of each landmark, left/right swaps and PCK curves of several methods, with intervals.

Values are first averaged over the seeds of a method, point by point. The interval is a bootstrap of that mean over
pairs, or over persons and photos where these are in several pairs, as in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.bootstrap import Units, ratio_intervals
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


def over_seeds(
    tables: Sequence[PointTable], value: Callable[[PointTable], Values] = lambda table: (table.errors, table.visible)
) -> Values:
    """Return the mean of ``value`` over tables of the same points; the same points count in all tables."""
    found = [value(table) for table in tables]
    counted = found[0][1]
    return np.mean([np.where(counted, values, 0.0) for values, _ in found], axis=0), counted


def column_rows(
    columns: Sequence[Row],
    sums: Array,
    counts: Array,
    resamples: int,
    name: str,
    units: Units | None = None,
    **last: int,
) -> list[Row]:
    """Return a row for each column of (N, M) sums and counts: its mean (as ``name``), interval and number of points.

    Args:
        columns: what each row starts with.
        sums: sum of the values of each of N pairs.
        counts: number of values of each pair; a column without any has the mean and the interval None.
        resamples: bootstrap draws.
        name: key of the mean.
        units: (N, 2) units of each pair's source and target, where these may be in several pairs.
        last: what each row ends with.
    """
    rows = []
    ends = ratio_intervals(sums, counts, resamples=resamples, units=units)
    for column, total, count, ci95 in zip(columns, sums.T, counts.T, ends, strict=True):
        points = count.sum()
        known = points > 0
        mean = float(total.sum() / points) if known else None
        interval = [float(end) for end in ci95] if known else None
        rows.append({**column, name: mean, "ci95": interval, "points": int(points), **last})
    return rows


def landmark_rows(one: AnalysisSet, resamples: int) -> list[Row]:
    """Return method x landmark -> error in px of a 70-px crop."""
    rows = []
    for method, tables in one.tables.items():
        rows += _with_all(one, method, one.first.landmarks, *over_seeds(tables), resamples, "pixel_error")
    return rows


def _with_all(
    one: AnalysisSet, method: str, names: Sequence[str], sums: Array, counts: NDArray[Any], resamples: int, value: str
) -> list[Row]:
    """Return a row for each column of (N, K) sums and counts, and one for all columns together."""
    sums, counts = (np.column_stack((array, array.sum(1))).astype(np.float64) for array in (sums, counts))
    columns = [{"method": method, "pair": one.pair, "landmark": name} for name in (*names, ALL)]
    return column_rows(columns, sums, counts, resamples, value, one.first.units, seeds=len(one.tables[method]))


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
        sums, counts = (np.stack([v[:, list(pair)].sum(1) for pair in flips], 1) for v in values)
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
        units = one.first.units
        curve += column_rows([{**start, "threshold": float(t)} for t in at], hits, counts, resamples, "pck", units)
        values = np.mean([np.where(counted, pck_area(errors), 0.0) for errors, _ in normalized], axis=0)
        sums = values.sum(1, keepdims=True)
        areas += column_rows([start], sums, counts[:, :1], resamples, "area", units, seeds=len(tables))
    return curve, areas
