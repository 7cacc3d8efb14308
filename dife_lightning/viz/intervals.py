"""Chart of means with intervals per method, for landmarks, bins or groups of points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dife_lightning.errors import DataError
from dife_lightning.viz.axes import GRID, as_percent, dress, head, interval, label
from dife_lightning.viz.methods import Panel, drawn, finite, method_colors, method_legend, method_notes, panel_grid
from dife_lightning.viz.sheet import title

#: Share of a category's width that is used for dots.
_SPREAD = 0.62


def interval_chart(
    panels: Sequence[Panel],
    *,
    heading: str,
    note: str = "",
    ylabel: str = "",
    xlabel: str = "",
    columns: int = 2,
    percent: bool = False,
    height: float = 2.1,
) -> Figure:
    """Draw one panel per kind of pair: in each category a dot with its interval per method.

    All panels have the same methods; ``columns`` of them stand in a row, each ``height`` inches high. ``percent``: the
    values are shares, written in percent. DataError if there is nothing to draw.
    """
    methods = drawn(name for panel in panels for name in panel.values)
    ends = [e[2] for p in panels for m in methods for e in p.values.get(m, ()) if e is not None and finite(e)]
    if not ends:
        raise DataError("nothing to draw: a chart needs one method with one value or more")
    lines = max(label.count("\n") for panel in panels for label in panel.categories)
    figure, cells = panel_grid(len(panels), columns, height=height, labels=0.36 + 0.13 * lines + 0.16 * bool(xlabel))
    for number, (axes, panel) in enumerate(zip(cells, panels, strict=True)):
        _draw(axes, panel, methods)
        axes.set_ylim(-0.04 * max(ends), 1.06 * max(ends))  # room for dots at 0
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(as_percent if percent else lambda value, _: f"{value:g}")
        label(axes, x=xlabel, y="" if number % columns else ylabel)
        head(axes, panel.title)
        method_notes(axes, {name: panel.notes[name] for name in methods if name in panel.notes}, panel.note_of)
    title(figure, heading, note)
    method_legend(figure, methods)
    return figure


def _draw(axes: Any, panel: Panel, methods: Sequence[str]) -> None:
    colors = method_colors(methods)
    offsets = (np.arange(len(methods)) - (len(methods) - 1) / 2) * _SPREAD / max(len(methods), 2)
    for name, offset in zip(methods, offsets.tolist(), strict=True):
        for place, estimate in enumerate(panel.values.get(name, ())):
            if estimate is not None and finite(estimate):
                interval(axes, place + offset, estimate, colors[name])
    dress(axes)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(-0.5, len(panel.categories) - 0.5)
    axes.set_xticks(range(len(panel.categories)), panel.categories)
    for place in range(1, len(panel.categories)):
        axes.axvline(place - 0.5, color=GRID, linewidth=0.8, zorder=0)
