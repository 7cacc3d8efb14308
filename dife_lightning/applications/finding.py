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

from dife_lightning.faces.batches import image_tensor
from dife_lightning.geometry.affine_crops import map_points
from dife_lightning.geometry.crops import Square, crop_image
from dife_lightning.weights.assets import find_asset, list_assets

#: Ending of the names of the shipped vectors of eyes and nose, after the name of the embedder.
SUFFIX = "-face-points"
#: Side of the square relative to the largest extent of eyes and nose, as in the training of photos/dife; and the other
#: squares around them that a refinement looks at.
FACTOR, FACTORS = 2.8, (2.4, 2.8, 3.3)
#: The square around a face, None where there is none, and how much eyes and nose are like those of faces.
Found = tuple[Square | None, float]


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

    def find(self, photos: Sequence[NDArray[np.uint8]]) -> list[Found]:
        """Return the square around the face of each photo (H, W, 3), and its score: the mean cosine of eyes and nose.

        They are looked for in the whole photo, and then in squares around what was found there: the medians count.
        The square is None where the points that are most like eyes and nose are in one place.
        """
        first, _ = self._look(photos, [_whole(photo) for photo in photos])
        squares = [[_around(points, factor) for factor in FACTORS] for points in first]
        open_ones = [k for k, several in enumerate(squares) if None not in several]
        inner = [(photos[k], square) for k in open_ones for square in squares[k] if square is not None]
        points, scores = self._look([photo for photo, _ in inner], [square for _, square in inner])
        each = len(FACTORS)
        found: list[Found] = [(None, float("nan"))] * len(photos)
        for place, k in enumerate(open_ones):
            part = slice(each * place, each * (place + 1))
            found[k] = _around(np.median(points[part], axis=0), FACTOR), float(scores[part].mean())
        return found

    @torch.no_grad()
    def _look(
        self, photos: Sequence[NDArray[np.uint8]], squares: Sequence[Square]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the points (N, 3, 2) most like eyes and nose in a square of each photo, in its pixels, and scores."""
        if not photos:
            return np.zeros((0, 3, 2), np.float32), np.zeros(0, np.float32)
        crops = [crop_image(photo, square, self.size, "border") for photo, square in zip(photos, squares, strict=True)]
        maps = F.normalize(self.embedder.embed(image_tensor(crops)).float(), dim=1)
        with torch.autocast(maps.device.type, enabled=False):
            alike = torch.einsum("kn,bnhw->bkhw", self.queries.to(maps.device), maps)
        height, width = alike.shape[-2:]
        best, index = alike.flatten(2).max(dim=-1)
        cells = torch.stack((index % width, index // width), dim=-1).cpu().numpy()
        inside = cells * np.array([self.size / width, self.size / height])
        points = np.stack([map_points(s.matrix(self.size), p) for s, p in zip(squares, inside, strict=True)])
        return points, best.mean(dim=1).cpu().numpy()


def _whole(photo: NDArray[np.uint8]) -> Square:
    height, width = photo.shape[:2]
    return Square((width - 1) / 2, (height - 1) / 2, float(max(width, height)))


def _around(points: NDArray[np.float32], factor: float) -> Square | None:
    extent = float(np.ptp(points, axis=0).max())
    if not extent > 0:
        return None
    x, y = points.mean(axis=0).tolist()
    return Square(x, y, factor * extent)


def load_finder(name: str, embedder: Embeds, size: int) -> FaceFinder | None:
    """Return the finder of a shipped embedder such as ``photos/dife``; None if none comes with it.

    AssetError if its file is missing or has been altered.
    """
    if name + SUFFIX not in list_assets():
        return None
    return FaceFinder(embedder, load_file(find_asset(name + SUFFIX))["queries"], size)
