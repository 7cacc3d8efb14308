"""Sheet of samples of generators: a row for each generator and truncation, a column for each latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from dife_lightning.viz.sheet import INK, at, axes_at, new_figure, show, title, to_image

#: Side of a panel in inches, and the width of the names.
PANEL, NAMES = 1.1, 1.5


def sample_sheet(images: Mapping[tuple[str, float], Tensor], seed: int) -> Figure:
    """Draw images (B, 3, R, R) in [-1, 1] of each (generator, truncation); every column has one z."""
    count = max(len(batch) for batch in images.values())
    note = f"each column has the same z (seed {seed})"
    figure = new_figure(NAMES + count * (PANEL + 0.05) + 0.15, len(images) * (PANEL + 0.05) + 0.95, note)
    place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 9, "color": INK}
    for row, ((name, psi), batch) in enumerate(images.items()):
        top = 0.8 + row * (PANEL + 0.05)
        figure.text(*at(figure, NAMES - 0.1, top + PANEL / 2), f"{name}\nψ = {psi:g}", **place)
        for column, image in enumerate(batch):
            show(axes_at(figure, NAMES + column * (PANEL + 0.05), top, PANEL, PANEL), to_image(image))
    title(figure, "Samples", note)
    return figure
