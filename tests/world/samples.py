"""Renders that several tests look at, made once; nobody writes to them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world import Framing, WorldSample, list_species, render

SPECIES = list_species()
JITTER = Framing(rotation_deg=21.0, scale=0.85, shift_x=0.06, shift_y=-0.04)


@cache
def sample(
    species: str, index: int, *, split: str = "val", size: int = 64, framing: Framing | None = None
) -> WorldSample:
    made = render(species, split, index, size=size, framing=framing)
    for array in (made.image, made.points, made.visible, made.mask, made.uv):
        array.setflags(write=False)
    return made


def same(a: WorldSample, b: WorldSample) -> bool:
    """Whether two samples agree to the last byte."""
    arrays = ("image", "points", "visible", "mask", "uv")
    facts = ("species", "split", "index", "pose", "mouth_open")
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in arrays) and all(
        getattr(a, name) == getattr(b, name) for name in facts
    )


def read_bilinear(field: NDArray[np.floating], x: float, y: float) -> NDArray[np.float64]:
    """Read (H, W, C) at (x, y), pixel centres at integers; NaN where a neighbour is missing or NaN."""
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    if not (0 <= x0 < field.shape[1] - 1 and 0 <= y0 < field.shape[0] - 1):
        return np.full(field.shape[2], np.nan)
    fx, fy = x - x0, y - y0
    near = field[y0 : y0 + 2, x0 : x0 + 2].astype(np.float64)
    upper, lower = (near[row, 0] * (1 - fx) + near[row, 1] * fx for row in (0, 1))
    return upper * (1 - fy) + lower * fy
