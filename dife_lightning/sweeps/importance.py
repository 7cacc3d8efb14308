"""How much each parameter of a sweep matters, by rank correlation and by the means of its values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.records import Trial


@dataclass(frozen=True)
class Importance:
    """Of one parameter.

    Attributes:
        name: its dotted key.
        spearman: rank correlation of its values with the objective, in [-1, 1]; None where they have no order, or
            fewer than three trials or no difference leave it undefined.
        range_of_means: largest minus smallest mean objective over its values; None for a range of numbers, whose
            values seldom come twice.
    """

    name: str
    spearman: float | None
    range_of_means: float | None


def importances(sweep: Sweep, trials: Sequence[Trial]) -> list[Importance]:
    """Return one entry for each parameter that varies, over the trials with an objective."""
    done = [trial for trial in trials if trial.objective is not None]
    objective = [trial.reached for trial in done]
    found = []
    for parameter in sweep.varying:
        values = [trial.parameters[parameter.name] for trial in done]
        discrete = parameter.kind == "choice" or sweep.method == "grid"
        found.append(
            Importance(
                parameter.name,
                spearman(values, objective) if parameter.numeric else None,
                range_of_means(values, objective) if discrete else None,
            )
        )
    return found


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Pearson's correlation of the ranks, those of equal values shared; None where it is not defined."""
    if len(left) < 3:
        return None
    a, b = (ranks(np.asarray(values, dtype=float)) for values in (left, right))
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size else None


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks from 1, equal values having the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean: NDArray[np.float64] = (2 * last - count + 1) / 2
    return mean[place]


def range_of_means(values: Sequence[Any], objective: Sequence[float]) -> float | None:
    """Return how far the mean objectives of the values lie apart; None for fewer than two values."""
    groups: dict[str, list[float]] = {}
    for value, reached in zip(values, objective, strict=True):
        groups.setdefault(repr(value), []).append(reached)
    means = [math.fsum(group) / len(group) for group in groups.values()]
    return max(means) - min(means) if len(means) > 1 else None


def chance_level(count: int) -> float | None:
    """Return the size of a rank correlation that chance alone exceeds in 5 % of sweeps of ``count`` trials."""
    return min(1.0, 1.96 / math.sqrt(count - 1)) if count > 3 else None
