"""Sheet of landmark transfers: the source with its points, the target with true and transferred points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.viz.axes import dot, legend
from dife_lightning.viz.sheet import COLORS, FAINT, INK, at, axes_at, new_figure, show, title


class Mark(NamedTuple):
    """Colour and shape of a point."""

    color: str
    shape: str = "o"


#: Warm colours are the viewer's left, cold ones the right, light ones the middle; eyes are circles, mouths squares,
#: noses triangles. Colours of one shape differ in hue or brightness for colour-blind readers, too.
_MARKS = {
    "left_eye": Mark("#ff8c00"),
    "left_eye_outer": Mark("#ff8c00"),
    "left_eye_inner": Mark("#ffe96b"),
    "right_eye_inner": Mark("#9fdcff"),
    "right_eye_outer": Mark("#2f7bff"),
    "right_eye": Mark("#2f7bff"),
    "nose": Mark("#ffffff", "^"),
    "mouth_left": Mark("#ff8c00", "s"),
    "mouth_right": Mark("#2f7bff", "s"),
    "lip_upper": Mark("#ffffff", "s"),
    "lip_lower": Mark("#ff9ecb", "s"),
}


def marks_of(landmarks: Sequence[str]) -> list[Mark]:
    """Return the mark of each point: fixed for known landmarks, colours in turn for others."""
    return [_MARKS.get(name, Mark(COLORS[k % len(COLORS)])) for k, name in enumerate(landmarks)]


@dataclass(frozen=True)
class TransferExample:
    """One pair to draw: images (S, S, 3) uint8; points (K, 2) in their pixels; ``visible`` (K,) in both.

    ``error`` is the mean error of the pair in pixels of a 70-px crop. Without ground truth, ``target_points`` and
    ``error`` are NaN and are not drawn.
    """

    source_image: NDArray[np.uint8]
    target_image: NDArray[np.uint8]
    source_points: NDArray[np.float32]
    target_points: NDArray[np.float32]
    predicted: NDArray[np.float32]
    visible: NDArray[np.bool_]
    error: float
    label: str = ""


def transfer_sheet(
    examples: Sequence[TransferExample | None],
    landmarks: Sequence[str],
    *,
    columns: int = 4,
    heading: str = "Key-point transfer",
    note: str = "",
    rows: Sequence[str] = (),
) -> Figure:
    """Draw pairs in a grid of ``columns``; None leaves a cell empty.

    ``landmarks`` are the names of the K points, for the legend; ``rows`` are labels at the left of each row. DataError
    if there is no pair.
    """
    shown = [example for example in examples if example is not None]
    if not shown:
        raise DataError("no pair to draw: a transfer sheet needs at least one example")
    columns = min(columns, len(examples))
    count = -(-len(examples) // columns)
    cell, line, top, bottom, left = 1.55, 0.26, 0.92, 0.62, 0.38 if rows else 0.12
    content = left + 2 * cell * columns
    figure = new_figure(max(content + 0.12, 6.4), top + count * (cell + line) - line + bottom, note)
    left += max(6.4 - content - 0.12, 0) / 2  # centre the pairs of a narrow sheet
    marks = marks_of(landmarks)
    for number, example in enumerate(examples):
        if example is None:
            continue
        row, column = divmod(number, columns)
        source, target = (
            axes_at(
                figure, left + 2 * column * cell + side * (cell - 0.06), top + row * (cell + line), *[cell - 0.1] * 2
            )
            for side in (0, 1)
        )
        draw_source(source, example, marks)
        source.set_title(example.label, fontsize=8, color=INK, loc="left", pad=2)
        draw_target(target, example, marks)
        if np.isfinite(example.error):
            target.set_title(f"{example.error:.1f} px", fontsize=8, color=INK, loc="right", pad=2)
    for row, text in enumerate(rows[:count]):
        place = at(figure, left - 0.19, top + row * (cell + line) + cell / 2)
        figure.text(*place, text, fontsize=9, weight="bold", color=INK, ha="center", va="center", rotation=90)
    title(figure, heading, note)
    transfer_legend(figure, landmarks, truth=any(np.isfinite(example.error) for example in shown))
    return figure


def draw_source(axes: Any, example: TransferExample, marks: Sequence[Mark], size: float = 5.0) -> None:
    """Show the source with its visible points, ``size`` typographic points wide."""
    show(axes, example.source_image)
    for k in np.flatnonzero(example.visible).tolist():
        _dot(axes, example.source_points[k], marks[k], size)


def draw_target(axes: Any, example: TransferExample, marks: Sequence[Mark], size: float = 5.0) -> None:
    """Show the target: the true place of each visible point as a ring, joined to its transferred place."""
    show(axes, example.target_image)
    for k in np.flatnonzero(example.visible).tolist():
        truth, found, (color, shape) = example.target_points[k], example.predicted[k], marks[k]
        axes.plot(*zip(truth, found, strict=True), color=color, linewidth=0.26 * size, solid_capstyle="round")
        for edge, width in (("black", 0.44 * size), (color, 0.24 * size)):
            ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": edge, "markeredgewidth": width}
            axes.plot(*truth, shape, markersize=1.2 * size, **ring)
        _dot(axes, found, marks[k], size)


def _dot(axes: Any, point: NDArray[np.float32], mark: Mark, size: float) -> None:
    look: dict[str, Any] = {"markerfacecolor": mark.color, "markeredgecolor": "black", "markeredgewidth": 0.14 * size}
    axes.plot(*point, mark.shape, markersize=size, **look)


def transfer_legend(figure: Figure, landmarks: Sequence[str], *, truth: bool, found: str = "transferred") -> None:
    """Explain the points at the bottom of a figure, and places that were ``found`` and, if ``truth``, are true."""
    entries = [
        dot(name.replace("_", " "), mark.color, shape=mark.shape, markeredgecolor="black")
        for name, mark in zip(landmarks, marks_of(landmarks), strict=True)
    ]
    entries.append(dot(found, FAINT, markeredgecolor="black"))
    if truth:
        entries.append(dot("true", "none", markeredgecolor=FAINT, markeredgewidth=2))
    legend(figure, entries, columns=-(-len(entries) // 2), loc="lower center")
