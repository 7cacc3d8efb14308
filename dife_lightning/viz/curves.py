"""Loss and error curves of a run, from the metrics.csv that Lightning's CSVLogger writes."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from dife_lightning.errors import DataError
from dife_lightning.viz.axes import dress, head, label
from dife_lightning.viz.sheet import FAINT, LINES, new_figure, title

Series = dict[str, tuple[list[float], list[float]]]


def read_curves(path: str | Path) -> Series:
    """Return column -> (steps, values) of a CSVLogger file, without empty cells; DataError for another file."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no metrics at {path}: expected the metrics.csv of a CSVLogger")
    series: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or ()):
            raise DataError(f"{path} has no column 'step': expected the metrics.csv of a CSVLogger")
        for row in reader:
            for name, value in row.items():
                if name not in ("step", "epoch") and _is_number(value):
                    series[name][0].append(float(row["step"]))
                    series[name][1].append(float(value))
    return dict(series)


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


def curves(path: str | Path, *, heading: str = "Training", note: str = "") -> Figure:
    """Draw losses (log scale) and validation errors in pixels; the start of each later stage is marked.

    DataError if the file has neither.
    """
    series = read_curves(path)
    losses = sorted(name for name in series if "loss" in name)
    errors = sorted(name for name in series if name == "val/pixel_error" or name.endswith("9-point/pixel_error"))
    panels = [(names, kind) for names, kind in ((losses, "loss"), (errors, "error")) if names]
    if not panels:
        raise DataError(f"{path} has no column with a loss or a pixel error: nothing to draw")
    figure = new_figure(5.4 * len(panels) + 0.4, 4.0)
    grid = figure.add_gridspec(1, len(panels), left=0.07, right=0.98, top=0.78, bottom=0.14, wspace=0.18)
    stages = list(_stage_starts(series))
    for column, (names, kind) in enumerate(panels):
        axes = figure.add_subplot(grid[column])
        _draw(axes, series, names)
        _finish(axes, kind, stages)
    title(figure, heading, note)
    return figure


def _draw(axes: Any, series: Series, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        steps, values = series[name]
        color = LINES[number % len(LINES)]
        shown = "mean over pairs" if name == "val/pixel_error" else name.partition("/")[2] or name
        shown = shown.removesuffix("/9-point/pixel_error")
        dense = len(values) > 30
        axes.plot(steps, values, color=color, linewidth=1, alpha=0.25 if dense else 0)
        smooth = _smoothed(values) if dense else values
        axes.plot(steps, smooth, color=color, linewidth=1.8, marker=None if dense else "o", markersize=4, label=shown)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Return a centred running mean over about a twentieth of the values."""
    half = max(1, len(values) // 40)
    return [
        math.fsum(part) / len(part) for part in (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    ]


def _finish(axes: Any, kind: str, stages: Iterable[float]) -> None:
    lowest = min(min(line.get_ydata()) for line in axes.lines)
    if kind == "loss" and lowest > 0:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # labels between these would overlap
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which(StrMethodFormatter("{x:g}"))
        axes.tick_params(axis="y", which="minor", labelsize=7, labelcolor=FAINT, length=0)
    head(axes, "loss" if kind == "loss" else "validation error, px of a 70-px crop", bold=False)
    label(axes, x="step")
    dress(axes, grid="both")
    for step in stages:
        axes.axvline(step, color=FAINT, linestyle="--", linewidth=1)
        look = {"fontsize": 7, "color": FAINT, "rotation": 90, "ha": "right", "va": "top"}
        axes.annotate("next stage", (step, 0.99), xycoords=("data", "axes fraction"), **look)
    axes.legend(fontsize=8, frameon=False)


def _stage_starts(series: Series) -> Iterable[float]:
    """Yield the first step of each later stage, if a column ``stage`` was logged."""
    for name, (steps, values) in series.items():
        if name.rpartition("/")[2] == "stage":
            for before, after, step in zip(values, values[1:], steps[1:], strict=False):
                if after > before:
                    yield step
            return
