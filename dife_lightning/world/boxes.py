"""The box of a face of the embedded world, by which errors of landmarks are normalised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.relief import CELLS, EXTENT
from dife_lightning.world.face.species import Species
from dife_lightning.world.scene.factors import Split, draw_factors
from dife_lightning.world.scene.framing import Framing
from dife_lightning.world.scene.renderer import check_size

#: Layer of the height field that holds the relative radius, 1 on the outline of the face.
_RADIUS = 3


def face_box(
    species: str | Species, split: Split, index: int, *, size: int = 64, framing: Framing | None = None
) -> NDArray[np.float32]:
    """Return the box (4,) of a face: x0, y0, x1, y1 in pixels of the image of :func:`~dife_lightning.world.render`.

    It encloses the outline of the face, without ears and manes beyond it. Occluders, glasses and the border of the
    image do not change it: it holds the whole face and may extend beyond the image. A framing that rotates the image
    rotates the face, so its upright box changes, too.

    Raises:
        ConfigError: unknown species or split, negative index, or a size below 8.
    """
    check_size(size)
    factors = draw_factors(species, split, index)
    rows, columns = np.nonzero(factors.relief.layers[..., _RADIUS] < 1)
    line = np.linspace(-EXTENT, EXTENT, CELLS)
    height = factors.relief.height[rows, columns].astype(np.float64)
    surface = np.column_stack((line[columns], line[rows], height))
    pixels = factors.camera(size, framing or Framing()).project(surface)[0]
    return np.concatenate((pixels.min(axis=0), pixels.max(axis=0))).astype(np.float32)
