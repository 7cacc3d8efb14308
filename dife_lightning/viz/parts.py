"""Sheet of faces with their parts in colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.viz.sheet import INK, axes_at, new_figure, short, show, title

#: Side of a panel in inches, and panels in a row.
PANEL, COLUMNS = 1.45, 8


def part_colors(count: int) -> NDArray[np.uint8]:
    """Return a colour (count, 3) for each part, distinct for up to 20."""
    table = colormaps["tab20" if count > 10 else "tab10"]
    return np.array([[round(255 * value) for value in table(k % table.N)[:3]] for k in range(count)], np.uint8)


def parts_sheet(
    faces: Sequence[NDArray[np.uint8]], parts: Sequence[NDArray[np.uint8]], names: Sequence[str], count: int
) -> Figure:
    """Draw faces (S, S, 3) with the colours of their parts (S, S) below each; ``count`` parts in all."""
    rows = -(-len(faces) // COLUMNS)
    note = f"{count} parts, found on all faces together: equal colours are equal parts"
    width = min(len(faces), COLUMNS) * (PANEL + 0.06) + 0.3
    figure = new_figure(width, rows * (2 * PANEL + 0.3) + 0.85, note)
    colors = part_colors(count)
    for k, (face, labels, name) in enumerate(zip(faces, parts, names, strict=True)):
        row, column = divmod(k, COLUMNS)
        left, top = 0.12 + column * (PANEL + 0.06), 0.9 + row * (2 * PANEL + 0.3)
        upper, lower = (axes_at(figure, left, top + j * (PANEL + 0.04), PANEL, PANEL) for j in range(2))
        show(upper, face)
        upper.set_title(short(name, 23), fontsize=7, color=INK, loc="left", pad=2)
        show(lower, (0.35 * face + 0.65 * colors[labels]).astype(np.uint8))
    title(figure, "Parts of faces", note)
    return figure
