"""A picture of the unlabelled points in a face of each species."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.data.world.extra_pairs import point_groups
from dife_lightning.viz.axes import dot, head, legend
from dife_lightning.viz.sheet import axes_at, new_figure, show, title
from dife_lightning.world import render
from dife_lightning.world.extra_landmarks import extra_landmarks
from experiments.analyses.extra import GROUPS

#: One colour for each group of points, distinct on skin and fur.
_COLORS = {"landmarks": "#ffffff", "face": "#3fd6c6", "ears": "#ff6fd0"}
_SIDE, _LOOKED_AT = 160, 30


def extra_places(species: Sequence[str]) -> Figure:
    """Draw one test face of each species with all its points: the first face that shows the most of them."""
    cell, top, bottom = 2.0, 0.92, 0.4
    figure = new_figure(max(cell * len(species) + 0.24, 6.6), cell + top + bottom)
    for column, name in enumerate(species):
        axes = axes_at(figure, 0.12 + column * cell, top, cell - 0.1, cell - 0.1)
        _draw(axes, name)
        head(axes, name)
    note = "the same places in every species; no click and no landmark is on an ear"
    title(figure, "Where the points are", note)
    legend(figure, [dot(name, _COLORS[group], markeredgecolor="black") for group, name in GROUPS.items()])
    return figure


def _draw(axes: Any, species: str) -> None:
    seen = [extra_landmarks(species, "test", index)[1].sum() for index in range(_LOOKED_AT)]
    index = int(np.argmax(seen))
    sample = render(species, "test", index, size=_SIDE)
    points, visible = extra_landmarks(species, "test", index, size=_SIDE)
    show(axes, sample.image)
    all_points, all_visible = np.concatenate((sample.points, points)), np.concatenate((sample.visible, visible))
    for point, shown, group in zip(all_points, all_visible, point_groups().values(), strict=True):
        if shown:
            look = {"markerfacecolor": _COLORS[group], "markeredgecolor": "black", "markeredgewidth": 0.8}
            axes.plot(*point, "o", markersize=6, **look)
