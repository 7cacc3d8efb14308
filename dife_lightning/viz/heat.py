"""Heat table: each cell shows a number, half the length of its interval, and a colour (pale is small)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from dife_lightning.errors import DataError
from dife_lightning.viz.axes import ink_on, table_axes, tile
from dife_lightning.viz.methods import Estimate, Panel, drawn, finite
from dife_lightning.viz.sheet import INK, at, axes_at, new_figure, title

HEAT = LinearSegmentedColormap.from_list("heat", ["#fffaf0", "#fde3b8", "#f6b26b", "#e0562b", "#8f2414"])


def heat_table(panels: Sequence[Panel], *, heading: str, note: str = "") -> Figure:
    """Draw one block per kind of pair: methods as rows, categories as columns, the smallest of a column in bold.

    All panels have the same categories. DataError if there is nothing to draw.
    """
    methods = drawn(name for panel in panels for name in panel.values)
    numbers = [e[0] for p in panels for m in methods for e in p.values.get(m, ()) if e is not None and finite(e)]
    if not numbers:
        raise DataError("nothing to draw: a heat table needs one method with one value or more")
    width, row, above, left, top, bottom = 10.0, 0.27, 0.3, 1.45, 0.9, 0.12
    block = above + row * len(methods)
    figure = new_figure(width, top + block * len(panels) + bottom)
    for number, panel in enumerate(panels):
        y = top + number * block + above
        axes = axes_at(figure, left, y, width - left - 0.12, row * len(methods))
        _draw(axes, panel, methods, (min(numbers), max(numbers)))
        figure.text(*at(figure, 0.12, y - 0.08), panel.title, fontsize=10, weight="bold", color=INK)
        if number == 0:
            _names(axes, panel.categories)
    title(figure, heading, note)
    return figure


def _draw(axes: Any, panel: Panel, methods: Sequence[str], limits: tuple[float, float]) -> None:
    for column in range(len(panel.categories)):
        estimates = {place: panel.values[name][column] for place, name in enumerate(methods)}
        known = {place: e for place, e in estimates.items() if e is not None and finite(e)}
        best = min((e[0] for e in known.values()), default=None)
        for place, estimate in known.items():
            _cell(axes, column, place, estimate, limits, bold=estimate[0] == best)
    table_axes(axes, len(panel.categories), methods)


def _cell(axes: Any, column: int, row: int, estimate: Estimate, limits: tuple[float, float], *, bold: bool) -> None:
    low, high = limits
    share = (estimate[0] - low) / (high - low) if high > low else 0.0
    axes.add_patch(tile(column, row, HEAT(share)))
    half = (estimate[2] - estimate[1]) / 2
    text = {"ha": "center", "va": "center", "color": ink_on(HEAT(share))}
    axes.text(column - 0.16, row, f"{estimate[0]:.1f}", fontsize=9, weight="bold" if bold else "normal", **text)
    axes.text(column + 0.2, row, f"±{half:.1f}", fontsize=7, alpha=0.75, **text)


def _names(axes: Any, categories: Sequence[str]) -> None:
    for column, name in enumerate(categories):
        for line, text in enumerate(reversed(name.split("\n"))):
            axes.text(column, -0.68 - 0.46 * line, text, ha="center", va="baseline", fontsize=8, color=INK)
