"""Bootstrap intervals of a mean error over pairs, and of the difference between two methods on the same pairs.

All functions draw ``resamples`` sets of N **pairs** with replacement, by ``seed``, and return lower and upper end of
the percentile interval that holds 95 % of the sets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError

Interval = tuple[float, float]
#: Lower and upper quantile of an interval.
_ENDS = ((1 - 0.95) / 2, (1 + 0.95) / 2)


def bootstrap_ci(
    errors: NDArray[np.floating], visible: NDArray[np.bool_], *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the interval of the mean of ``errors`` (N, K) over the points that are ``visible`` (N, K).

    The value of a resample is a ratio of sums, like the mean itself.
    """
    return ratio_interval(*_per_pair(errors, visible), resamples=resamples, seed=seed)


def ratio_interval(
    sums: NDArray[np.floating], counts: NDArray[np.number], *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the interval of sum / count.

    ``sums`` (N,) are the summed errors, or summed differences of two errors, of each pair; ``counts`` (N,) its points.
    """
    weights = resample_weights(len(sums), resamples=resamples, seed=seed)
    return percentiles(_ratio(weights @ sums, weights @ counts.astype(np.float64)))


def paired_difference(
    errors_a: NDArray[np.floating],
    errors_b: NDArray[np.floating],
    visible: NDArray[np.bool_],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, Interval]:
    """Return mean error of a minus that of b on the same (N, K) points, and its interval over the same pairs."""
    if errors_a.shape != errors_b.shape:
        raise DataError(f"errors of shapes {errors_a.shape} and {errors_b.shape}: a paired test needs the same points")
    (a, counts), (b, _) = _per_pair(errors_a, visible), _per_pair(errors_b, visible)
    return float((a - b).sum() / counts.sum()), ratio_interval(a - b, counts, resamples=resamples, seed=seed)


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
    sums: NDArray[np.floating], counts: NDArray[np.number], *, resamples: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """Return the intervals (M, 2) of M ratios on the same pairs, all from the same draws.

    ``sums`` and ``counts`` (N, M) are the contributions of each pair to numerator and denominator. An interval is NaN
    where a ratio has no count in any pair; a draw without a count of a ratio is ignored for it.
    """
    weights = resample_weights(len(sums), resamples=resamples, seed=seed)
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
