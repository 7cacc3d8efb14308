"""What pictures that compare methods share: a fixed colour for each method, panels, and notes per method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

from dife_lightning.viz.axes import dot, legend
from dife_lightning.viz.sheet import FAINT, LINES, axes_at, new_figure

#: Fixed colours: floors are grey, the methods that are compared most often have one each.
_KNOWN = {
    "random": "#c9cdd6",
    "copy-xy": "#a7aebb",
    "mean-shape": "#5d6675",
    "surface-teacher": LINES[0],
    "dife-warmup": LINES[4],
    "dife": LINES[1],
}
_OTHERS = (LINES[2], LINES[3], LINES[6], LINES[7], "#8c5a2b", "#7a9a01", "#00695c", "#b39ddb")
#: Its error is so large that it would stretch every axis.
_OFF_SCALE = ("random",)

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
    """Return a colour for each method; a known method always has the same one."""
    names = list(dict.fromkeys(methods))
    free = [name for name in names if name not in _KNOWN]
    return {name: _KNOWN.get(name) or _OTHERS[free.index(name) % len(_OTHERS)] for name in names}


def drawn(methods: Iterable[str]) -> list[str]:
    """Return the methods worth drawing: all but a random guess, unless there is nothing else."""
    names = list(dict.fromkeys(methods))
    return [name for name in names if name not in _OFF_SCALE] or names


def panel_grid(count: int, columns: int, *, height: float = 2.1, labels: float = 0.42) -> tuple[Figure, list[Any]]:
    """Return a figure and its ``count`` axes, in rows, with room for titles, tick labels and a legend.

    ``height`` of a panel, and room for ``labels`` below each, are in inches.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    width, left, right, top, bottom, gap, above = 10.0, 0.62, 0.15, 0.62, 0.34, 0.55, 0.26
    figure = new_figure(width, top + rows * (above + height + labels) + bottom)
    panel = (width - left - right - gap * (columns - 1)) / columns
    cells = []
    for number in range(count):
        row, column = divmod(number, columns)
        y = top + row * (above + height + labels) + above
        cells.append(axes_at(figure, left + column * (panel + gap), y, panel, height))
    return figure, cells


def method_legend(figure: Figure, methods: Sequence[str], *, line: bool = False) -> None:
    """Name the methods' colours at the bottom of a figure; the caller leaves room there."""
    style: dict[str, Any] = {"linestyle": "-", "linewidth": 2.5, "marker": ""} if line else {}
    legend(figure, [dot(name, color, **style) for name, color in method_colors(methods).items()])


def method_notes(axes: Any, notes: Mapping[str, str], note_of: str = "") -> None:
    """Write each method's note in its colour above a panel's right end, after ``note_of``."""
    if not notes:
        return
    colors = method_colors(notes)
    texts: list[Any] = [TextArea(note_of, textprops={"color": FAINT, "fontsize": 8})] if note_of else []
    texts += [
        TextArea(text, textprops={"color": colors[name], "fontsize": 8, "weight": "bold"})
        for name, text in notes.items()
    ]
    packed = HPacker(children=texts, align="baseline", pad=0, sep=7)
    place = {"bbox_to_anchor": (1.0, 1.0), "bbox_transform": axes.transAxes}
    box = AnchoredOffsetbox("lower right", child=packed, pad=0, frameon=False, borderpad=0, **place)
    box.set_zorder(5)
    axes.add_artist(box)
    box.set_clip_on(False)


def finite(estimate: Estimate | None) -> bool:
    """Return whether there is something to draw."""
    return estimate is not None and bool(np.isfinite(estimate).all())
