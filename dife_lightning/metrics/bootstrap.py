"""Bootstrap intervals of a mean error, and of the difference between two methods on the same pairs.

All functions draw ``resamples`` sets by ``seed`` and return lower and upper end of the percentile interval that holds
95 % of the sets. They draw N **pairs** with replacement, unless ``units`` (N, 2), the person, animal or photo of each
pair's source and target, say that one of these is in several pairs. Such pairs are not independent; then **photos**
are drawn: the source units and, independently, the target units. The weight of a pair is the product of how often its
two units were drawn. A side whose units are each in one pair is not drawn: its pairs go with those of the other side.

Drawing both sides (Owen, "The pigeonhole bootstrap", 2007) is cautious: where errors of pairs that share a unit are in
truth independent, the interval is up to 1.7 times too long.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError

Interval = tuple[float, float]
#: (N, 2) names of the unit (person, animal or photo) of each pair's source and target.
Units = NDArray[np.str_]
#: Lower and upper quantile of an interval.
_ENDS = ((1 - 0.95) / 2, (1 + 0.95) / 2)


def bootstrap_ci(
    errors: NDArray[np.floating],
    visible: NDArray[np.bool_],
    *,
    resamples: int = 2000,
    seed: int = 0,
    units: Units | None = None,
) -> Interval:
    """Return the interval of the mean of ``errors`` (N, K) over the points that are ``visible`` (N, K).

    The value of a resample is a ratio of sums, like the mean itself.
    """
    return ratio_interval(*_per_pair(errors, visible), resamples=resamples, seed=seed, units=units)


def ratio_interval(
    sums: NDArray[np.floating],
    counts: NDArray[np.number],
    *,
    resamples: int = 2000,
    seed: int = 0,
    units: Units | None = None,
) -> Interval:
    """Return the interval of sum / count.

    ``sums`` (N,) are the summed errors, or summed differences of two errors, of each pair; ``counts`` (N,) its points.
    """
    weights = pair_weights(len(sums), units, resamples=resamples, seed=seed)
    return percentiles(_ratio(weights @ sums, weights @ counts.astype(np.float64)))


def paired_difference(
    errors_a: NDArray[np.floating],
    errors_b: NDArray[np.floating],
    visible: NDArray[np.bool_],
    *,
    resamples: int = 2000,
    seed: int = 0,
    units: Units | None = None,
) -> tuple[float, Interval]:
    """Return mean error of a minus that of b on the same (N, K) points, and its interval over the same draws."""
    if errors_a.shape != errors_b.shape:
        raise DataError(f"errors of shapes {errors_a.shape} and {errors_b.shape}: a paired test needs the same points")
    (a, counts), (b, _) = _per_pair(errors_a, visible), _per_pair(errors_b, visible)
    interval = ratio_interval(a - b, counts, resamples=resamples, seed=seed, units=units)
    return float((a - b).sum() / counts.sum()), interval


def _per_pair(errors: NDArray[Any], visible: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not visible.any():
        raise DataError("no visible point: there is nothing to draw a confidence interval from")
    return np.where(visible, errors, 0.0).sum(1, dtype=np.float64), visible.sum(1).astype(np.float64)


def _ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[counts > 0] / counts[counts > 0]


def percentiles(values: NDArray[np.float64]) -> Interval:
    """Return the ends of the interval of the values of all resamples."""
    low, high = np.quantile(values, _ENDS)
    return float(low), float(high)


def ratio_intervals(
    sums: NDArray[np.floating],
    counts: NDArray[np.number],
    *,
    resamples: int = 2000,
    seed: int = 0,
    units: Units | None = None,
) -> NDArray[np.float64]:
    """Return the intervals (M, 2) of M ratios on the same pairs, all from the same draws.

    ``sums`` and ``counts`` (N, M) are the contributions of each pair to numerator and denominator. An interval is NaN
    where a ratio has no count in any pair; a draw without a count of a ratio is ignored for it.
    """
    weights = pair_weights(len(sums), units, resamples=resamples, seed=seed)
    top, bottom = weights @ sums, weights @ counts.astype(np.float64)
    found = np.full((sums.shape[1], 2), np.nan)
    for m in np.flatnonzero(counts.any(axis=0)):
        found[m] = percentiles(_ratio(top[:, m], bottom[:, m]))
    return found


@lru_cache(maxsize=4)  # all cells of a table use the same draws
def resample_weights(pairs: int, *, resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Return (resamples, N): how often each pair occurs in each set of N pairs drawn with replacement; read-only."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, pairs]))
    weights = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=resamples).astype(np.float64)
    weights.setflags(write=False)
    return weights


def interval_over(units: Units | None) -> Literal["pairs", "photos"]:
    """Return what is drawn for an interval: ``photos`` where a unit is in several pairs, else ``pairs``."""
    return "pairs" if units is None or not _repeating(units) else "photos"


def said_over(kinds: Collection[str]) -> str:
    """Return in words what some intervals are over, of those that :func:`interval_over` returned."""
    if "photos" not in kinds:
        return "pairs"
    return "persons and photos" if "pairs" not in kinds else "pairs, or persons and photos where these repeat"


def _repeating(units: Units) -> list[NDArray[np.int64]]:
    """Return for each side with a unit in several pairs the number (N,) of each pair's unit, by first appearance."""
    found = []
    for side in np.asarray(units).reshape(-1, 2).T:
        order: dict[str, int] = {}
        numbers = np.array([order.setdefault(unit, len(order)) for unit in side.tolist()], dtype=np.int64)
        if len(order) < len(numbers):
            found.append(numbers)
    return found


def pair_weights(
    pairs: int, units: Units | None = None, *, resamples: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """Return (resamples, N): the weight of each pair in each set that is drawn; read-only.

    Raises:
        DataError: there are not as many units as pairs.
    """
    if units is not None and len(units) != pairs:
        raise DataError(f"units of {len(units)} pairs, expected those of {pairs}")
    sides = [] if units is None else _repeating(units)
    if not sides:
        return resample_weights(pairs, resamples=resamples, seed=seed)
    return _unit_weights(tuple(side.tobytes() for side in sides), resamples, seed)


@lru_cache(maxsize=4)
def _unit_weights(sides: tuple[bytes, ...], resamples: int, seed: int) -> NDArray[np.float64]:
    weights = np.ones(1)
    for place, side in enumerate(sides):
        numbers = np.frombuffer(side, np.int64)
        count = int(numbers.max()) + 1
        rng = np.random.default_rng(np.random.SeedSequence([seed, len(numbers), count, place]))
        weights = weights * rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, numbers]
    weights.setflags(write=False)
    return weights
