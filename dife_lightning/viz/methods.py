"""What pictures that compare methods share: one colour for each method in all of them, one legend, plain axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

from dife_lightning.viz.sheet import FAINT, INK, LINES, new_figure

#: Floors are grey; what is compared most often has a colour of its own.
_KNOWN = {
    "random": "#c9cdd6",
    "copy-xy": "#a7aebb",
    "mean-shape": "#5d6675",
    "surface-teacher": LINES[0],
    "dife-warmup": LINES[4],
    "dife": LINES[1],
}
_OTHERS = (LINES[2], LINES[3], LINES[6], LINES[7], "#8c5a2b", "#7a9a01", "#00695c", "#b39ddb")
#: Drawn, it would stretch every axis.
_OFF_SCALE = ("random",)
GRID = "#e6e8ee"

#: Mean, lower and upper end of its interval.
Estimate = tuple[float, float, float]


@dataclass(frozen=True)
class Panel:
    """One panel: method -> an estimate for each category (None where there is none), and a short note per method."""

    title: str
    categories: Sequence[str]
    values: Mapping[str, Sequence[Estimate | None]]
    notes: Mapping[str, str] = field(default_factory=dict)
    note_of: str = ""


def method_colors(methods: Iterable[str]) -> dict[str, str]:
    """Return a colour for each method; known names keep theirs, whatever stands beside them."""
    names = list(dict.fromkeys(methods))
    free = [name for name in names if name not in _KNOWN]
    return {name: _KNOWN.get(name) or _OTHERS[free.index(name) % len(_OTHERS)] for name in names}


def drawn(methods: Iterable[str]) -> list[str]:
    """Return the methods worth drawing: all but a random guess, unless there is nothing else."""
    names = list(dict.fromkeys(methods))
    return [name for name in names if name not in _OFF_SCALE] or names


def panel_grid(
    count: int, columns: int, *, width: float = 10.0, height: float = 2.1, labels: float = 0.42
) -> tuple[Figure, list[Any]]:
    """Return a figure and its ``count`` axes, in rows, with room for titles, tick labels and a legend.

    Args:
        count: number of panels.
        columns: panels in a row.
        width: of the figure in inches.
        height: of a panel in inches.
        labels: room in inches below each panel for what is written there.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    left, right, top, bottom, gap, above = 0.62, 0.15, 0.62, 0.34, 0.55, 0.26
    whole = top + rows * (above + height + labels) + bottom
    figure = new_figure(width, whole)
    panel = (width - left - right - gap * (columns - 1)) / columns
    cells = []
    for number in range(count):
        row, column = divmod(number, columns)
        x, y = left + column * (panel + gap), whole - top - row * (above + height + labels) - above - height
        cells.append(figure.add_axes((x / width, y / whole, panel / width, height / whole)))
    return figure, cells


def method_legend(figure: Figure, methods: Sequence[str], *, line: bool = False) -> None:
    """Name the colours at the bottom of a figure; the space there is the caller's to leave."""
    colors = method_colors(methods)
    style: dict[str, Any] = {"linewidth": 2.5} if line else {"linestyle": "none", "marker": "o", "markersize": 6}
    handles = [Line2D([], [], color=colors[name], label=name, **style) for name in methods]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=len(handles),
        fontsize=9,
        frameon=False,
        handletextpad=0.3,
        columnspacing=1.4,
        labelcolor=INK,
    )


def dress(axes: Any, *, grid: str = "y") -> None:
    """Leave of the axes what a reader needs."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=FAINT, labelcolor=INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def head(axes: Any, title: str, notes: Mapping[str, str], note_of: str = "") -> None:
    """Write a panel's title at its left and, at its right, each method's note in the method's colour."""
    axes.set_title(title, fontsize=10, weight="bold", color=INK, loc="left", pad=6)
    if not notes:
        return
    colors = method_colors(notes)
    texts: list[Any] = [TextArea(note_of, textprops={"color": FAINT, "fontsize": 8})] if note_of else []
    texts += [
        TextArea(text, textprops={"color": colors[name], "fontsize": 8, "weight": "bold"})
        for name, text in notes.items()
    ]
    packed = HPacker(children=texts, align="baseline", pad=0, sep=7)
    box = AnchoredOffsetbox(
        "lower right",
        child=packed,
        pad=0,
        frameon=False,
        borderpad=0,
        bbox_to_anchor=(1.0, 1.0),
        bbox_transform=axes.transAxes,
    )
    box.set_zorder(5)
    axes.add_artist(box)
    box.set_clip_on(False)


def finite(estimate: Estimate | None) -> bool:
    """Return whether there is something to draw."""
    return estimate is not None and bool(np.isfinite(estimate).all())
