"""Sheet of detected landmarks: single faces with their true and found points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.viz.sheet import INK, axes_at, new_figure, title
from dife_lightning.viz.transfer import TransferExample, draw_target, marks_of, transfer_legend

#: Most landmarks that the legend names.
_NAMED = 12


@dataclass(frozen=True)
class DetectionExample:
    """One face to draw: image (S, S, 3) uint8, true and found points (K, 2) in its pixels, ``visible`` (K,).

    ``nme`` is the mean error of the face in percent; NaN is not written.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.float32]
    found: NDArray[np.float32]
    visible: NDArray[np.bool_]
    nme: float = float("nan")


def detection_sheet(
    examples: Sequence[DetectionExample],
    landmarks: Sequence[str],
    *,
    columns: int = 4,
    heading: str = "Landmarks",
    note: str = "",
) -> Figure:
    """Draw faces in a grid: true places as rings, each joined to the place that was found.

    ``landmarks`` are the names of the K points; more than 12 are not named. DataError if there is no face.
    """
    if not examples:
        raise DataError("no face to draw: a sheet of landmarks needs at least one")
    columns = min(columns, len(examples))
    rows = -(-len(examples) // columns)
    cell, line, top, bottom = 2.1, 0.26, 0.92, 0.62
    width = max(cell * columns + 0.24, 6.4)
    figure = new_figure(width, top + rows * (cell + line) - line + bottom, note)
    left, marks = (width - cell * columns) / 2, marks_of(landmarks)
    for number, example in enumerate(examples):
        row, column = divmod(number, columns)
        axes = axes_at(figure, left + column * cell, top + row * (cell + line), *[cell - 0.1] * 2)
        draw_target(axes, _as_target(example), marks)
        if np.isfinite(example.nme):
            axes.set_title(f"{example.nme:.1f} %", fontsize=8, color=INK, loc="right", pad=2)
    title(figure, heading, note)
    transfer_legend(figure, landmarks if len(landmarks) <= _NAMED else (), truth=True, found="found")
    return figure


def _as_target(face: DetectionExample) -> TransferExample:
    sides = {"source_image": face.image, "target_image": face.image}
    points = {"source_points": face.truth, "target_points": face.truth, "predicted": face.found}
    return TransferExample(**sides, **points, visible=face.visible, error=face.nme)  # type: ignore[arg-type]
