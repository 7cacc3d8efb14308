"""Sheet of key-point transfers: the source with its points, the target with where they should and did go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.viz.sheet import COLORS, FAINT, INK, inches_grid, new_figure, show, title


@dataclass(frozen=True)
class TransferExample:
    """One pair to draw: images (S, S, 3) uint8; points (K, 2) in their pixels; ``visible`` (K,) in both.

    ``error`` is the pair's mean error in pixels of a 70-px crop. Where the truth is not known, ``target_points`` and
    ``error`` are NaN; neither is drawn then.
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
    """Draw pairs in a grid.

    Args:
        examples: the pairs; None leaves a cell empty.
        landmarks: names of the K points, for the legend.
        columns: pairs in a row.
        heading: large title.
        note: small line below it.
        rows: a label for each row, written upwards at its left.
    """
    shown = [example for example in examples if example is not None]
    if not shown:
        raise DataError("no pair to draw: a transfer sheet needs one example or more")
    columns = min(columns, len(examples))
    count = -(-len(examples) // columns)
    cell, label, top, bottom, left = 1.55, 0.26, 0.72, 0.62, 0.38 if rows else 0.12
    width = max(2 * cell * columns + 0.12 + left, 6.4)
    figure = new_figure(width, count * (cell + label) + top + bottom)
    outer = inches_grid(figure, count, columns, top=top + label - 0.06, bottom=bottom)
    outer.update(left=left / width, wspace=0.05, hspace=label / cell)
    _row_labels(figure, outer, rows[:count], left / width)
    for number, example in enumerate(examples):
        if example is None:
            continue
        inner = outer[number // columns, number % columns].subgridspec(1, 2, wspace=0.02)
        source, target = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
        _draw_source(source, example)
        _draw_target(target, example)
    title(figure, heading, note)
    _legend(figure, landmarks, truth=any(np.isfinite(example.error) for example in shown))
    return figure


def _row_labels(figure: Figure, grid: GridSpec, labels: Sequence[str], left: float) -> None:
    for row, text in enumerate(labels):
        box = grid[row, 0].get_position(figure)
        place: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90}
        figure.text(left / 2, (box.y0 + box.y1) / 2, text, fontsize=9, weight="bold", color=INK, **place)


def _draw_source(axes: Any, example: TransferExample) -> None:
    show(axes, example.source_image)
    for k in np.flatnonzero(example.visible).tolist():
        _dot(axes, example.source_points[k], _color(k))
    axes.set_title(example.label, fontsize=8, color=INK, loc="left", pad=2)


def _draw_target(axes: Any, example: TransferExample) -> None:
    show(axes, example.target_image)
    for k in np.flatnonzero(example.visible).tolist():
        truth, found = example.target_points[k], example.predicted[k]
        axes.plot(*zip(truth, found, strict=True), color=_color(k), linewidth=1.3, solid_capstyle="round")
        axes.plot(*truth, "o", markersize=6, markerfacecolor="none", markeredgecolor="black", markeredgewidth=2.2)
        axes.plot(*truth, "o", markersize=6, markerfacecolor="none", markeredgecolor=_color(k), markeredgewidth=1.2)
        _dot(axes, found, _color(k))
    if np.isfinite(example.error):
        axes.set_title(f"{example.error:.1f} px", fontsize=8, color=INK, loc="right", pad=2)


def _dot(axes: Any, point: NDArray[np.float32], color: str) -> None:
    axes.plot(*point, "o", markersize=5, markerfacecolor=color, markeredgecolor="black", markeredgewidth=0.7)


def _color(landmark: int) -> str:
    return COLORS[landmark % len(COLORS)]


def _legend(figure: Figure, landmarks: Sequence[str], *, truth: bool) -> None:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 6, "markeredgecolor": "black"}
    points = [
        Line2D([], [], label=name.replace("_", " "), markerfacecolor=_color(k), **dot)
        for k, name in enumerate(landmarks)
    ]
    kinds = [
        Line2D([], [], label="transferred", markerfacecolor=FAINT, **dot),
    ]
    if truth:
        ring = {**dot, "markeredgecolor": FAINT, "markeredgewidth": 2}
        kinds.append(Line2D([], [], label="true", markerfacecolor="none", **ring))
    columns = -(-(len(points) + len(kinds)) // 2)
    figure.legend(
        handles=[*points, *kinds],
        loc="lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
        handletextpad=0.1,
        columnspacing=1.0,
    )
