"""Tables of numbers as colours: pale is small. Each number stands in its cell, with half its interval's length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from dife_lightning.errors import DataError
from dife_lightning.viz.methods import Estimate, Panel, drawn, finite
from dife_lightning.viz.sheet import INK, new_figure, title

HEAT = LinearSegmentedColormap.from_list("heat", ["#fffaf0", "#fde3b8", "#f6b26b", "#e0562b", "#8f2414"])


def heat_table(panels: Sequence[Panel], *, heading: str, note: str = "", digits: int = 1) -> Figure:
    """Draw one block for each kind of pair: methods as rows, categories as columns, the least of a column in bold.

    Args:
        panels: with the same categories.
        heading: large title.
        note: small line below it.
        digits: after the decimal point.

    Raises:
        DataError: nothing to draw.
    """
    methods = drawn(name for panel in panels for name in panel.values)
    numbers = [e[0] for p in panels for m in methods for e in p.values.get(m, ()) if e is not None and finite(e)]
    if not numbers:
        raise DataError("nothing to draw: a heat table needs one method with one value or more")
    width, row, above, left, top, bottom = 10.0, 0.27, 0.3, 1.45, 0.9, 0.12
    block = above + row * len(methods)
    whole = top + block * len(panels) + bottom
    figure = new_figure(width, whole)
    for number, panel in enumerate(panels):
        y = whole - top - number * block - block
        axes = figure.add_axes((left / width, y / whole, 1 - (left + 0.12) / width, row * len(methods) / whole))
        _draw(axes, panel, methods, (min(numbers), max(numbers)), digits)
        figure.text(
            0.12 / width, (y + row * len(methods) + 0.08) / whole, panel.title, fontsize=10, weight="bold", color=INK
        )
        if number == 0:
            _names(axes, panel.categories)
    title(figure, heading, note)
    return figure


def _draw(axes: Any, panel: Panel, methods: Sequence[str], limits: tuple[float, float], digits: int) -> None:
    columns = range(len(panel.categories))
    for column in columns:
        estimates = {place: panel.values[name][column] for place, name in enumerate(methods)}
        known = {place: e for place, e in estimates.items() if e is not None and finite(e)}
        best = min((e[0] for e in known.values()), default=None)
        for place, estimate in known.items():
            _cell(axes, column, place, estimate, limits, digits, bold=estimate[0] == best)
    axes.set_xlim(-0.5, len(panel.categories) - 0.5)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks(range(len(methods)), methods, fontsize=9, color=INK)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cell(
    axes: Any, column: int, row: int, estimate: Estimate, limits: tuple[float, float], digits: int, *, bold: bool
) -> None:
    low, high = limits
    share = (estimate[0] - low) / (high - low) if high > low else 0.0
    axes.add_patch(_tile(column, row, HEAT(share)))
    ink = "white" if _luminance(HEAT(share)) < 0.5 else INK
    half = (estimate[2] - estimate[1]) / 2
    text = {"ha": "center", "va": "center", "color": ink}
    axes.text(column - 0.16, row, f"{estimate[0]:.{digits}f}", fontsize=9, weight="bold" if bold else "normal", **text)
    axes.text(column + 0.2, row, f"±{half:.{digits}f}", fontsize=7, alpha=0.75, **text)


def _luminance(color: Any) -> float:
    return float(0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2])


def _tile(column: int, row: int, color: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.485, row - 0.46), 0.97, 0.92, facecolor=color, edgecolor="none")


def _names(axes: Any, categories: Sequence[str]) -> None:
    for column, name in enumerate(categories):
        for line, text in enumerate(reversed(name.split("\n"))):
            axes.text(column, -0.68 - 0.46 * line, text, ha="center", va="baseline", fontsize=8, color=INK)
