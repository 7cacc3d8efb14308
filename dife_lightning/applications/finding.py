"""Finds the face of a photo by a dense embedding: where eyes and nose are, and the square around them.

The embedding of an eye or a nose is nearly the same for all species (photos/dife: cosines of 0.93 and more between
people, dogs, cats, horses, sheep and cows), so three vectors are enough to look for a face of any of them. The face
should fill a quarter of the photo or more. On species that the embedder was not trained on, the squares are too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.faces.batches import image_tensor
from dife_lightning.geometry.affine_crops import map_points
from dife_lightning.geometry.crops import Square, crop_image
from dife_lightning.weights.assets import find_asset, list_assets

#: Ending of the names of the shipped vectors of eyes and nose, after the name of the embedder.
SUFFIX = "-face-points"
#: Side of the square relative to the largest extent of eyes and nose, as in the training of photos/dife; and the other
#: squares around them that a refinement looks at.
FACTOR, FACTORS = 2.8, (2.4, 2.8, 3.3)


class Embeds(Protocol):
    """Anything with ``embed``."""

    def embed(self, images: Tensor) -> Tensor:
        """Return (B, n, h, w) of images (B, 3, S, S) in [-1, 1]."""
        ...


class FaceFinder:
    """Looks for eyes and nose in an embedding.

    Args:
        embedder: anything with ``embed``.
        queries: (3, n) embeddings of the eyes, the viewer's left one first, and of the nose.
        size: side in pixels of the images that the embedder takes.
    """

    def __init__(self, embedder: Embeds, queries: Tensor, size: int) -> None:
        self.embedder, self.size = embedder, size
        self.queries = F.normalize(queries.float(), dim=1)

    def find(self, image: NDArray[np.uint8]) -> tuple[Square, float]:
        """Return the square around the face of a photo (H, W, 3), and its score: the mean cosine of eyes and nose.

        Raises:
            DataError: the points that are most like eyes and nose are in one place.
        """
        points, score = self.points(image)
        return _around(points, FACTOR), score

    def points(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Return the eyes and the nose (3, 2) in pixels of the photo, and their score.

        They are looked for in the whole photo, and then in squares around what was found there: the medians count.
        """
        height, width = image.shape[:2]
        whole = Square((width - 1) / 2, (height - 1) / 2, float(max(width, height)))
        first, _ = self._look(image, [whole])
        found, scores = self._look(image, [_around(first[0], factor) for factor in FACTORS])
        return np.median(found, axis=0).astype(np.float32), float(scores.mean())

    @torch.no_grad()
    def _look(
        self, image: NDArray[np.uint8], squares: Sequence[Square]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the points (N, 3, 2) most like eyes and nose in squares of a photo, in its pixels; and scores (N,)."""
        crops = image_tensor([crop_image(image, square, self.size, "border") for square in squares])
        maps = F.normalize(self.embedder.embed(crops).float(), dim=1)
        alike = torch.einsum("kn,bnhw->bkhw", self.queries.to(maps.device), maps)
        height, width = alike.shape[-2:]
        best, index = alike.flatten(2).max(dim=-1)
        cells = torch.stack((index % width, index // width), dim=-1).cpu().numpy()
        inside = cells * np.array([self.size / width, self.size / height])
        points = np.stack([map_points(s.matrix(self.size), p) for s, p in zip(squares, inside, strict=True)])
        return points, best.mean(dim=1).cpu().numpy()


def _around(points: NDArray[np.float32], factor: float) -> Square:
    extent = float(np.ptp(points, axis=0).max())
    if not extent > 0:
        raise DataError("no face found in the photo: eyes and nose are in one place; give the box of the face")
    x, y = points.mean(axis=0).tolist()
    return Square(x, y, factor * extent)


def load_finder(name: str, embedder: Embeds, size: int) -> FaceFinder | None:
    """Return the finder of a shipped embedder such as ``photos/dife``; None if none comes with it.

    AssetError if its file is missing or has been altered.
    """
    if name + SUFFIX not in list_assets():
        return None
    return FaceFinder(embedder, load_file(find_asset(name + SUFFIX))["queries"], size)
