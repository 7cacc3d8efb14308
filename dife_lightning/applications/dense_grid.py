"""A grid of points inside a face, carried to other faces (DIFE, figure 8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.dense_match import CYCLE
from dife_lightning.applications.face_crops import FaceCrop, Photo, Where
from dife_lightning.applications.face_embedder import FaceEmbedder, NamedEmbedder
from dife_lightning.applications.landmark_transfer import LandmarkTransfer, SourceFace
from dife_lightning.errors import DataError
from dife_lightning.utils.checks import require

#: Points along each side, and the share of the face's square that they span: brows to chin, no hair, no collar.
POINTS, EXTENT = 12, 0.42


class DenseGrid:
    """Carries a grid of points from one face to others.

    Args:
        photo: of the source: a file, or an image (H, W, 3) uint8.
        where: its face; see ``crop_face``.
        points: along each side of the grid.
        extent: share of the face's square that the grid spans, above 0 up to 1.
        model: a shipped or trained embedder.
        size: side in pixels of what the model sees.
        max_cycle: largest cycle error of a match, relative to the crop.

    Attributes:
        source: the face of the source.
        grid: (P, 2) points in pixels of its photo, those inside it; row by row.
        places: (P, 2) column and row of each in [0, 1], for its colour.
        transfer: carries them; its ``carry`` takes faces, and it takes photos.

    Raises:
        ConfigError: an option out of its range.
        DataError: a photo that cannot be read, or no point of the grid inside it.
    """

    def __init__(
        self,
        photo: Photo,
        where: Where = "auto",
        points: int = POINTS,
        extent: float = EXTENT,
        model: str | NamedEmbedder = "photos/dife",
        *,
        size: int | None = None,
        max_cycle: float = CYCLE,
    ) -> None:
        require(at_least=2, at_most=64, points=points)
        require(above=0, at_most=1, extent=extent)
        eyes = FaceEmbedder(model, size)
        self.source = eyes.crop(photo, where, "the source")
        self.grid, self.places = _grid(self.source, points, extent)
        if not len(self.grid):
            raise DataError("no point of the grid is inside the photo of the source; give the box of its face")
        square = self.source.square
        box = np.array([square.x, square.y, square.x, square.y]) + square.side / 2 * np.array([-1, -1, 1, 1])
        names = [f"point_{k}" for k in range(len(self.grid))]
        source = SourceFace(self.source.photo, self.grid, box=box.astype(np.float32), name="the source")
        self.transfer = LandmarkTransfer([source], names, eyes.embedder, size=eyes.size, max_cycle=max_cycle)


def _grid(face: FaceCrop, points: int, extent: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the points (P, 2) of a grid that are inside the photo, and their columns and rows (P, 2) in [0, 1]."""
    steps = (np.arange(points) + 0.5) / points
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    grid = np.array([face.square.x, face.square.y]) + (places - 0.5) * extent * face.square.side
    inside = face.inside_photo(grid.astype(np.float32))
    return grid[inside].astype(np.float32), places[inside].astype(np.float32)
