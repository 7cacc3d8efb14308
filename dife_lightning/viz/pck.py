"""PCK curves, one panel per kind of pair, with the area under each curve beside the title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.viz.axes import as_percent, dress, head, label
from dife_lightning.viz.methods import drawn, method_colors, method_legend, method_notes, panel_grid
from dife_lightning.viz.sheet import title

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """One panel: thresholds (T,), method -> PCK with the ends of its interval (T, 3), and the area under each curve."""

    title: str
    thresholds: Array
    curves: Mapping[str, Array]
    areas: Mapping[str, float]


def pck_chart(panels: Sequence[Curves], *, heading: str, note: str = "", xlabel: str = "") -> Figure:
    """Draw the curves with the bands of their intervals, in panels with the same methods.

    ``xlabel`` is the unit of the thresholds. DataError if there is nothing to draw.
    """
    methods = drawn(name for panel in panels for name in panel.curves)
    if not methods:
        raise DataError("nothing to draw: PCK curves need one panel with one method or more")
    colors = method_colors(methods)
    figure, cells = panel_grid(len(panels), 2, height=2.7, labels=0.5)
    for number, (axes, panel) in enumerate(zip(cells, panels, strict=True)):
        for name in methods:
            mean, low, high = panel.curves[name].T
            axes.fill_between(panel.thresholds, low, high, color=colors[name], alpha=0.18, linewidth=0)
            axes.plot(panel.thresholds, mean, color=colors[name], linewidth=1.8)
        dress(axes, grid="both")
        axes.set_xlim(panel.thresholds[0], panel.thresholds[-1])
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MultipleLocator(0.05))
        axes.yaxis.set_major_formatter(as_percent)
        label(axes, x=xlabel, y="" if number % 2 else "points within the threshold")
        head(axes, panel.title)
        method_notes(axes, {name: f"{panel.areas[name]:.2f}" for name in methods}, "area")
    title(figure, heading, note)
    method_legend(figure, methods, line=True)
    return figure
