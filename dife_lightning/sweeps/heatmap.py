"""The objective over two parameters: a cell for each pair of a grid's values, else a smoothed map with the trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.objective import ranked
from dife_lightning.sweeps.palette import Scale, Tick, objective_scale, ticks
from dife_lightning.sweeps.records import Trial
from dife_lightning.sweeps.space import Parameter, short_names
from dife_lightning.viz.sheet import FAINT, INK, new_figure, title

#: Width of the smoothing as a part of an axis, and side of the map in pixels.
_WIDTH, _SIDE = 0.13, 160


def heatmap(sweep: Sweep, trials: Sequence[Trial]) -> Figure:
    """Draw the trials that have an objective over the two parameters that vary, the first one across."""
    order = ranked(sweep, trials)
    across, up = sweep.varying
    scale = objective_scale(sweep, [trial.reached for trial in order])
    figure = new_figure(6.4, 5.6)
    axes = figure.add_axes((0.14, 0.115, 0.80, 0.735))
    cells = all(parameter.kind == "choice" or sweep.method == "grid" for parameter in (across, up))
    (_draw_cells if cells else _draw_map)(axes, across, up, order, scale)
    names = short_names([parameter.name for parameter in sweep.parameters])
    axes.set_xlabel(names[across.name], fontsize=10, color=INK, weight="bold")
    axes.set_ylabel(names[up.name], fontsize=10, color=INK, weight="bold")
    axes.tick_params(labelsize=8, colors=INK, length=0 if cells else 3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    good = "lower" if scale.best_is_low else "higher"
    how = "mean of the trials in a cell" if cells else "a number a trial; the ground is smoothed between them"
    title(figure, f"{sweep.metric} over two parameters", f"{good} is better; {how}")
    return figure


def _draw_cells(axes: Any, across: Parameter, up: Parameter, order: Sequence[Trial], scale: Scale) -> None:
    columns, rows = across.grid(), up.grid()
    sums: NDArray[np.float64] = np.zeros((len(rows), len(columns)))
    counts = np.zeros_like(sums)
    for trial in order:
        place = rows.index(trial.parameters[up.name]), columns.index(trial.parameters[across.name])
        sums[place] += trial.reached
        counts[place] += 1
    for (row, column), count in np.ndenumerate(counts):
        mean = float(sums[row, column] / count) if count else math.nan
        color = scale.color(mean) if count else "#f3f4f7"
        axes.add_patch(_tile(column, row, color))
        size = min(10.0, 70 / max(len(columns), len(rows)))
        text = f"{mean:.3g}" if count else "–"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=size, color=_readable(color) if count else FAINT
        )
    best = rows.index(order[0].parameters[up.name]), columns.index(order[0].parameters[across.name])
    axes.add_patch(_tile(best[1], best[0], "none", edge=INK))
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xticks(range(len(columns)), [_label(value) for value in columns])
    axes.set_yticks(range(len(rows)), [_label(value) for value in rows])


def _tile(column: int, row: int, color: Any, edge: str | None = None) -> Any:
    from matplotlib.patches import FancyBboxPatch

    style: dict[str, Any] = {"edgecolor": edge or "none", "linewidth": 2.2 if edge else 0, "facecolor": color}
    return FancyBboxPatch((column - 0.46, row - 0.46), 0.92, 0.92, boxstyle="round,pad=0,rounding_size=0.06", **style)


def _draw_map(axes: Any, across: Parameter, up: Parameter, order: Sequence[Trial], scale: Scale) -> None:
    x = np.array([across.unit(trial.parameters[across.name]) for trial in order])
    y = np.array([up.unit(trial.parameters[up.name]) for trial in order])
    reached = np.array([trial.reached for trial in order])
    axes.imshow(_ground(x, y, reached, scale), extent=(0, 1, 0, 1), origin="lower", aspect="auto", zorder=0)
    for place in reversed(range(len(order))):
        color = scale.color(reached[place])
        edge, size = (INK, 150) if place == 0 else ("white", 90)
        axes.scatter(x[place], y[place], s=size, color=[color], edgecolor=edge, linewidth=1.6, zorder=3, clip_on=False)
        axes.annotate(
            f"{reached[place]:.3g}", (x[place], y[place]), (0, -13 if place else -16), textcoords="offset points",
            ha="center", fontsize=7 if place else 8.5, weight="normal" if place else "bold", color=INK, zorder=4,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
        )  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    _set_ticks(axes.set_xticks, ticks(across))
    _set_ticks(axes.set_yticks, ticks(up))


def _ground(
    x: NDArray[np.float64], y: NDArray[np.float64], reached: NDArray[np.float64], scale: Scale
) -> NDArray[np.float64]:
    """Return (H, W, 4) colours of the weighted mean of near trials, fainter where none is near."""
    side = (np.arange(_SIDE) + 0.5) / _SIDE
    gap = (side[None, :, None] - x) ** 2 + (side[:, None, None] - y) ** 2
    weight = np.exp(-gap / (2 * _WIDTH**2)) + 1e-12
    mean = (weight * np.clip(reached, scale.low, scale.high)).sum(-1) / weight.sum(-1)
    colors = scale.colors(mean)
    colors[..., 3] = 0.62 * np.clip(weight.max(-1) * 1.6, 0, 1)
    return colors


def _set_ticks(set_ticks: Any, marks: Sequence[Tick]) -> None:
    set_ticks([mark.at for mark in marks], [mark.label for mark in marks])


def _readable(color: Any) -> str:
    return "white" if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 0.55 else INK


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
