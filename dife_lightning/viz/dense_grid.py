"""Sheet of a grid of points on one face and where it lies on others, in colours of its places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.viz.colors import place_colors
from dife_lightning.viz.sheet import INK, axes_at, new_figure, short, show, title

#: Side of a panel in inches, and panels in a row.
PANEL, COLUMNS = 2.0, 6


def grid_sheet(
    faces: Sequence[NDArray[np.uint8]],
    points: Sequence[NDArray[np.floating]],
    kept: Sequence[NDArray[np.bool_]],
    names: Sequence[str],
    places: NDArray[np.float32],
) -> Figure:
    """Draw faces (S, S, 3) with the points (P, 2) of the grid on each, in its pixels.

    ``kept`` (P,) says which points of a face are drawn: those that are matched. The first face is the source.
    ``places`` (P, 2) are column and row of the points in [0, 1].
    """
    rows = -(-len(faces) // COLUMNS)
    note = "equal colours are equal places; points without a match are left out"
    width = min(len(faces), COLUMNS) * (PANEL + 0.08) + 0.24
    figure = new_figure(width, rows * (PANEL + 0.28) + 0.75, note)
    colors = place_colors(places)
    for k, (face, found, seen, name) in enumerate(zip(faces, points, kept, names, strict=True)):
        row, column = divmod(k, COLUMNS)
        axes = axes_at(figure, 0.12 + column * (PANEL + 0.08), 0.85 + row * (PANEL + 0.28), PANEL, PANEL)
        show(axes, face)
        axes.set_title(short(name, 29), fontsize=8, color=INK, loc="left", pad=3)
        axes.scatter(*found[seen].T, c=colors[seen], s=16, edgecolors="black", linewidths=0.3)
    title(figure, "Dense transfer", note)
    return figure
