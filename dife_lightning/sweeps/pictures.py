"""Parallel coordinates: one line a trial, through its value on the axis of each parameter to what it reached."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.heatmap import heatmap
from dife_lightning.sweeps.importance import Importance
from dife_lightning.sweeps.objective import ranked
from dife_lightning.sweeps.palette import SHADES, Scale, Tick, objective_scale, ticks, value_ticks
from dife_lightning.sweeps.records import Trial
from dife_lightning.sweeps.space import short_names
from dife_lightning.viz.sheet import FAINT, INK, new_figure, save_figure, title

#: Inches between two axes, and margins.
_STEP, _SIDE, _TOP, _BOTTOM = 1.75, 0.75, 1.25, 0.35


def draw(sweep: Sweep, folder: Path, trials: Sequence[Trial], found: Sequence[Importance]) -> list[Path]:
    """Draw all pictures that a sweep has into ``folder`` and return their paths."""
    if not sweep.varying or not ranked(sweep, trials):
        return []
    paths = [save_figure(parallel(sweep, trials, found), folder / "parallel.png")]
    if len(sweep.varying) == 2:
        paths.append(save_figure(heatmap(sweep, trials), folder / "heatmap.png"))
    return paths


def parallel(sweep: Sweep, trials: Sequence[Trial], found: Sequence[Importance] = ()) -> Figure:
    """Draw the trials that have an objective, the best on top."""
    order = ranked(sweep, trials)
    scale = objective_scale(sweep, [trial.reached for trial in order])
    count = len(sweep.varying)
    width, height = max(count * _STEP + 2 * _SIDE + 0.45, 6.4), 4.7
    figure = new_figure(width, height)
    box = (_SIDE / width, _BOTTOM / height, 1 - (2 * _SIDE + 0.45) / width, 1 - (_TOP + _BOTTOM) / height)
    axes = figure.add_axes(box)
    axes.set_xlim(0, count)
    axes.set_ylim(-0.02, 1.02)
    axes.set_axis_off()
    _axes_of_parameters(axes, sweep, found)
    _axis_of_objective(axes, sweep, scale, count)
    for place, trial in reversed(list(enumerate(order))):
        _line(axes, sweep, trial, scale, best=place == 0)
    title(figure, f"{len(order)} trials by {sweep.metric}", _note(sweep, order))
    worse = scale.beyond(trial.reached for trial in order)
    if worse:
        told = f"{worse} of the trials {'is' if worse == 1 else 'are'} worse than the last axis is long"
        figure.text(1 - 0.12 / width, 0.12 / height, told, fontsize=7.5, color=FAINT, ha="right")
    return figure


def _note(sweep: Sweep, order: Sequence[Trial]) -> str:
    best, names = order[0], short_names([parameter.name for parameter in sweep.parameters])
    values = ", ".join(f"{names[p.name]} {_short(best.parameters[p.name])}" for p in sweep.varying)
    return f"best: {best.objective:.4g}, trial {best.number}" + (f" ({values})" if len(values) < 100 else "")


def _axes_of_parameters(axes: Any, sweep: Sweep, found: Sequence[Importance]) -> None:
    names = short_names([parameter.name for parameter in sweep.parameters])
    rho = {one.name: one.spearman for one in found}
    for place, parameter in enumerate(sweep.varying):
        axes.plot([place, place], [0, 1], color="#c3c8d4", linewidth=1.2, zorder=1, clip_on=False)
        _ticks(axes, place, ticks(parameter))
        told = rho.get(parameter.name)
        _heading(axes, place, names[parameter.name], "" if told is None else f"rank correlation {told:+.2f}")


def _axis_of_objective(axes: Any, sweep: Sweep, scale: Scale, place: int) -> None:
    """Draw the axis as a strip of the shades."""
    shades = np.linspace(0, 1, 256)[:, None]
    width = 0.05
    axes.imshow(
        shades if scale.best_is_low else 1 - shades,
        extent=(place, place + width, 0, 1),
        aspect="auto",
        origin="lower",
        cmap=SHADES,
        zorder=1,
        clip_on=False,
    )
    axes.set_xlim(0, place)
    axes.set_ylim(-0.02, 1.02)
    _ticks(axes, place + width, value_ticks(scale.low, scale.high), side=1)
    _heading(axes, place, sweep.metric.removeprefix("val/"), f"{'lower' if scale.best_is_low else 'higher'} is better")


def _ticks(axes: Any, place: float, marks: Sequence[Tick], side: int = -1) -> None:
    for at, label in marks:
        axes.plot([place, place + side * 0.025], [at, at], color="#c3c8d4", linewidth=1, zorder=1, clip_on=False)
        axes.text(
            place + side * 0.045,
            at,
            label,
            fontsize=7.5,
            color=INK,
            ha="right" if side < 0 else "left",
            va="center",
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _heading(axes: Any, place: float, text: str, note: str) -> None:
    axes.annotate(
        text, (place, 1), (0, 24), textcoords="offset points", ha="center", fontsize=9.5, weight="bold", color=INK
    )
    axes.annotate(note, (place, 1), (0, 13), textcoords="offset points", ha="center", fontsize=7.5, color=FAINT)


def _line(axes: Any, sweep: Sweep, trial: Trial, scale: Scale, best: bool) -> None:
    """Draw a smooth line that crosses every axis level."""
    heights = [parameter.unit(trial.parameters[parameter.name]) for parameter in sweep.varying]
    heights.append(scale.unit(trial.reached))
    t = np.linspace(0, 1, 40)
    ease = t * t * (3 - 2 * t)
    x = np.concatenate([place + t for place in range(len(heights) - 1)])
    y = np.concatenate([a + (b - a) * ease for a, b in pairwise(heights)])
    color = scale.color(trial.reached)
    style = {"color": color, "solid_capstyle": "round", "clip_on": False}
    if best:
        axes.plot(x, y, linewidth=5.4, zorder=3.5, **{**style, "color": "white"})
    axes.plot(x, y, linewidth=3.0 if best else 1.4, alpha=1.0 if best else 0.8, zorder=4 if best else 3, **style)
    size = 5.5 if best else 3.2
    axes.plot(range(len(heights)), heights, "o", markersize=size, zorder=4 if best else 3, color=color, clip_on=False)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
