"""Sheet that compares methods on the same pairs: a column is a pair, a row is a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.errors import DataError
from dife_lightning.viz.sheet import INK, at, axes_at, new_figure, title
from dife_lightning.viz.transfer import Mark, TransferExample, draw_source, draw_target, marks_of, transfer_legend

#: In inches: side of a picture, space between pictures, and between groups of columns; room for a row's number.
CELL, GAP, GROUP_GAP, LINE = 1.3, 0.05, 0.16, 0.2
#: Size of the marks in typographic points: small, because the faces are.
_SIZE = 3.4
_LEFT, _TOP, _HEAD, _BOTTOM, _EDGE = 1.2, 0.74, 0.26, 0.6, 0.12
_NARROWEST = 7.4

#: group -> method -> an example for each of the group's pairs; None where the method has none.
Groups = Mapping[str, Mapping[str, Sequence[TransferExample | None]]]


def comparison_sheet(
    groups: Groups, landmarks: Sequence[str], *, heading: str = "Key-point transfer", note: str = ""
) -> Figure:
    """Draw the sources with their points in the first row, and below them the targets of each method with its error.

    ``groups`` has, for each kind of pair, the examples of each method, of the same pairs in the same order. The
    smallest error of each column is bold. A cell without a result is empty. ``landmarks`` are the names of the K
    points, for the legend. DataError if there is nothing to draw, or methods of a group have different numbers of
    pairs.
    """
    methods = list(dict.fromkeys(name for group in groups.values() for name in group))
    counts = {name: _count(name, group) for name, group in groups.items()}
    marks = marks_of(landmarks)
    width = _LEFT + sum(counts.values()) * (CELL + GAP) + (len(groups) - 1) * GROUP_GAP + _EDGE
    height = _top(1 + len(methods)) + _BOTTOM
    figure = new_figure(max(width, _NARROWEST), height, note)
    x = _LEFT
    for name, group in groups.items():
        figure.text(*at(figure, x, _top(0) - 0.12), name, fontsize=10, weight="bold", color=INK, va="bottom")
        for number in range(counts[name]):
            column = {method: group[method][number] if method in group else None for method in methods}
            _draw_column(figure, x, column, marks)
            x += CELL + GAP
        x += GROUP_GAP
    for row, label in enumerate(("source", *methods)):
        weight = "bold" if row else "normal"
        place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 9.5, "weight": weight}
        text = label.replace("-", "-\n", 1) if len(label) > 11 else label
        figure.text(*at(figure, _LEFT - 0.1, _top(row) + CELL / 2), text, color=INK, **place)
    title(figure, heading, note)
    transfer_legend(figure, landmarks, truth=True)
    return figure


def _count(name: str, group: Mapping[str, Sequence[TransferExample | None]]) -> int:
    counts = {len(examples) for examples in group.values()}
    if len(counts) != 1 or not any(example for examples in group.values() for example in examples):
        raise DataError(f"{name}: nothing to compare; expected the same pairs for each method, and an example")
    return counts.pop()


def _draw_column(figure: Figure, x: float, column: Mapping[str, TransferExample | None], marks: Sequence[Mark]) -> None:
    """Draw the source of a pair and, below it, the target of each method in the order of ``column``."""
    shown = {row: example for row, example in enumerate(column.values(), start=1) if example is not None}
    if not shown:
        return
    draw_source(axes_at(figure, x, _top(0), CELL, CELL), next(iter(shown.values())), marks, _SIZE)
    errors = {row: round(example.error, 1) for row, example in shown.items()}
    least = min((error for error in errors.values() if np.isfinite(error)), default=np.nan)
    for row, example in shown.items():
        axes = axes_at(figure, x, _top(row), CELL, CELL)
        draw_target(axes, example, marks, _SIZE)
        weight = "bold" if errors[row] == least else "normal"
        axes.set_title(f"{example.error:.1f} px", fontsize=8, color=INK, weight=weight, loc="right", pad=2)


def _top(row: int) -> float:
    """Return the distance of a row from the top, in inches."""
    return _TOP + _HEAD + row * (CELL + LINE)
