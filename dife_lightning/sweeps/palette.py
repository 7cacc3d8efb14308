"""What the pictures of a sweep share: colours of good and bad, and ticks on axes of parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dife_lightning.sweeps.definition import Sweep, as_text
from dife_lightning.sweeps.space import Parameter

#: From the best to the worst.
SHADES = LinearSegmentedColormap.from_list("sweep", ["#1d2b8f", "#2f6fde", "#35b3b0", "#a4cf78", "#efc97c", "#dd9f86"])
#: A tick label longer than this is cut.
_LONGEST = 14


class Tick(NamedTuple):
    """A mark at a position in [0, 1] of an axis."""

    at: float
    label: str


class Scale(NamedTuple):
    """Objectives on an axis from ``low`` to ``high``; those outside are drawn at its end."""

    low: float
    high: float
    best_is_low: bool

    def unit(self, value: float) -> float:
        """Return the position in [0, 1] on an axis whose numbers rise."""
        return float(np.clip((value - self.low) / (self.high - self.low), 0, 1))

    def beyond(self, values: Iterable[float]) -> int:
        """Return how many objectives are worse than the axis is long."""
        return sum(value > self.high if self.best_is_low else value < self.low for value in values)

    def color(self, value: float) -> tuple[float, float, float, float]:
        """Return the shade of an objective."""
        red, green, blue, alpha = (float(part) for part in self.colors(np.array(value)))
        return red, green, blue, alpha

    def colors(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shades (..., 4) of objectives (...)."""
        at = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        return np.asarray(SHADES(at if self.best_is_low else 1 - at))


def objective_scale(sweep: Sweep, objectives: Sequence[float]) -> Scale:
    """Return the axis of the objective; a few trials that went wrong do not press the others together."""
    values = np.asarray(objectives, dtype=float)
    sign = 1.0 if sweep.goal == "minimize" else -1.0
    loss = sign * values
    best, middle, worst = loss.min(), np.median(loss), loss.max()
    end = min(worst, best + 4 * (middle - best)) if middle > best else worst
    if end <= best:
        end = best + max(abs(best) * 0.01, 1e-12)
    return Scale(best, end, True) if sign > 0 else Scale(-end, -best, False)


def ticks(parameter: Parameter) -> list[Tick]:
    """Return the marks of a parameter's axis."""
    if parameter.kind == "choice":
        return [Tick(parameter.unit(value), _cut(as_text(value))) for value in parameter.values]
    if parameter.kind == "log":
        return [Tick(parameter.unit(value), f"{value:g}") for value in _log_values(parameter.low, parameter.high)]
    return value_ticks(parameter.low, parameter.high, whole=parameter.kind == "int")


def value_ticks(low: float, high: float, whole: bool = False) -> list[Tick]:
    """Return round numbers between two."""
    values = MaxNLocator(5, integer=whole).tick_values(low, high)
    inside = [float(value) for value in values if low - 1e-12 <= value <= high + 1e-12]
    return [Tick((value - low) / (high - low), f"{value:g}") for value in inside]


def _log_values(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each decade between two, or decades alone where those are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1,)):
        found = [digit * 10.0**decade for decade in decades for digit in digits]
        inside = [float(f"{value:.3g}") for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) <= 8:
            break
    return inside[:: max(1, len(inside) // 6)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
