"""Association of an error with another property of each pair: Spearman's correlation, and bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import Interval, percentiles, resample_weights

Array = NDArray[np.float64]


def spearman(x: Array, y: Array) -> float:
    """Return the rank correlation of (N,) and (N,), ties sharing their mean rank; NaN where one is constant."""
    _check(x, y)
    once = np.ones((1, len(x)))
    return float(_correlation(_ranks(x, once), _ranks(y, once), once)[0])


def spearman_interval(x: Array, y: Array, *, resamples: int = 2000, seed: int = 0) -> tuple[float, Interval]:
    """Return the rank correlation of (N,) and (N,) and its bootstrap percentile interval over pairs.

    Each draw is ranked by itself. Draws in which one of the two is constant are ignored; NaN if all are.
    """
    value = spearman(x, y)
    weights = resample_weights(len(x), resamples=resamples, seed=seed)
    found = _correlation(_ranks(x, weights), _ranks(y, weights), weights)
    found = found[np.isfinite(found)]
    return value, percentiles(found) if found.size else (float("nan"), float("nan"))


def _check(x: Array, y: Array) -> None:
    if x.shape != y.shape or x.ndim != 1 or not len(x):
        raise DataError(f"values of shapes {x.shape} and {y.shape}: a rank correlation needs two of each pair")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("a value is not finite: a rank correlation needs two numbers of each pair")


def _ranks(values: Array, weights: Array) -> Array:
    """Return the (R, N) mean rank of each value if it occurs ``weights`` (R, N) times, without repeating it."""
    _, place = np.unique(values, return_inverse=True)
    groups = np.zeros((len(values), int(place.max()) + 1))
    groups[np.arange(len(values)), place] = 1
    there = weights @ groups
    below = np.cumsum(there, axis=1) - there
    ranks: Array = (below + (there + 1) / 2)[:, place]
    return ranks


def _correlation(a: Array, b: Array, weights: Array) -> Array:
    """Return the (R,) Pearson correlation of rows of a and b (R, N) with weights, NaN where one is constant."""
    total = weights.sum(axis=1, keepdims=True)
    a = a - (weights * a).sum(axis=1, keepdims=True) / total
    b = b - (weights * b).sum(axis=1, keepdims=True) / total
    both = (weights * a * b).sum(axis=1)
    spread = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    known = spread > 1e-9
    return np.where(known, both / np.where(known, spread, 1.0), np.nan)


def quantile_bins(values: Array, count: int) -> tuple[Array, NDArray[np.int64]]:
    """Cut (N,) finite values into ``count`` bins of about equally many.

    Returns the edges (B + 1,) and the bin (N,) of each value; B is less than ``count`` where many values are equal.
    """
    if count < 1 or not len(values) or not np.isfinite(values).all():
        raise DataError(f"{len(values)} values for {count} bins: expected one finite value or more, and one bin")
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    if len(edges) == 1:
        return np.repeat(edges, 2), np.zeros(len(values), dtype=np.int64)
    return edges, np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def normalized_distance(a: Array, b: Array) -> Array:
    """Return the (N,) distance of rows of a and b (N, D), each of the D numbers in its own standard deviation.

    The deviation is that over all rows of both; a constant number is ignored. The distance is the root
    mean squared difference over the others.
    """
    spread = np.concatenate((a, b)).std(axis=0)
    varies = spread > 1e-12
    if not varies.any():
        return np.zeros(len(a))
    return np.asarray(np.sqrt((((a - b)[:, varies] / spread[varies]) ** 2).mean(axis=1)))
