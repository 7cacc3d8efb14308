"""Sheet that compares methods on the same pairs: a column is a pair, a row is a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.errors import DataError
from dife_lightning.viz.sheet import INK, at, axes_at, new_figure, note_width, title
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

    The smallest error of each column is bold. A cell without a result is empty.

    Args:
        groups: per kind of pair the examples of each method, of the same pairs in the same order.
        landmarks: names of the K points, for the legend.
        heading: large title.
        note: small line below it.

    Raises:
        DataError: nothing to draw, or methods of a group have different numbers of pairs.
    """
    methods = list(dict.fromkeys(name for group in groups.values() for name in group))
    counts = {name: _count(name, group) for name, group in groups.items()}
    marks, rows = marks_of(landmarks), 1 + len(methods)
    columns = sum(counts.values())
    width = _LEFT + columns * (CELL + GAP) + (len(groups) - 1) * GROUP_GAP + _EDGE
    height = _TOP + _HEAD + rows * (CELL + LINE) + _BOTTOM
    figure = new_figure(max(width, _NARROWEST, note_width(note)), height)
    left = _LEFT
    for name, group in groups.items():
        _draw_group(figure, left, name, group, methods, marks)
        left += counts[name] * (CELL + GAP) + GROUP_GAP
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


def _draw_group(
    figure: Figure,
    left: float,
    name: str,
    group: Mapping[str, Sequence[TransferExample | None]],
    methods: Sequence[str],
    marks: Sequence[Mark],
) -> None:
    figure.text(*at(figure, left, _TOP + _HEAD - 0.12), name, fontsize=10, weight="bold", color=INK, va="bottom")
    for column, examples in enumerate(zip(*group.values(), strict=True)):
        x = left + column * (CELL + GAP)
        by_method = dict(zip(group, examples, strict=True))
        shown = [example for example in examples if example is not None]
        if not shown:
            continue
        draw_source(axes_at(figure, x, _top(0), CELL, CELL), shown[0], marks, _SIZE)
        least = min((round(example.error, 1) for example in shown if np.isfinite(example.error)), default=np.nan)
        for row, method in enumerate(methods, start=1):
            example = by_method.get(method)
            if example is not None:
                axes = axes_at(figure, x, _top(row), CELL, CELL)
                draw_target(axes, example, marks, _SIZE)
                best = round(example.error, 1) == least
                weight = "bold" if best else "normal"
                axes.set_title(f"{example.error:.1f} px", fontsize=8, color=INK, weight=weight, loc="right", pad=2)


def _top(row: int) -> float:
    """Return the distance of a row from the top, in inches."""
    return _TOP + _HEAD + row * (CELL + LINE)
