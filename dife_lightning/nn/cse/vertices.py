"""Vertex embeddings of CSE's meshes, and the search for the vertex that a pixel shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Largest number of distances stored at once: 2^25 float32 are 128 MiB.
MAX_DISTANCES = 2**25


def unit_embedding(embedding: Tensor, dim: int = -1) -> Tensor:
    """Scale vectors along ``dim`` to length 1; those shorter than 1e-6 are divided by 1e-6."""
    return F.normalize(embedding, dim=dim, eps=1e-6)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared Euclidean distances (P, N) of ``first`` (P, D) to ``second`` (N, D).

    They are expanded into squares and a product, so that nothing of size P x N x D is held; rounding can leave a
    value just below 0.
    """
    squares = first.square().sum(dim=1)[:, None] + second.square().sum(dim=1)
    return torch.addmm(squares, first, second.T, alpha=-2)


class VertexFeatureEmbedder(nn.Module):
    """Vertex embeddings as a linear map of the mesh's own coordinates, and of unit length.

    Args:
        vertices: number N of vertices.
        features: number of coordinates of a vertex: eigenfunctions of the mesh's Laplace-Beltrami operator, which are
            constants (official: 256).
        dim: channels of the embedding.
    """

    def __init__(self, vertices: int, features: int, dim: int) -> None:
        super().__init__()
        self.features: Tensor
        self.register_buffer("features", torch.zeros(vertices, features))
        self.embeddings = nn.Parameter(torch.zeros(features, dim))

    def forward(self) -> Tensor:
        """Return (N, dim), unit length, float32."""
        with torch.autocast(self.features.device.type, enabled=False):
            return unit_embedding(self.features @ self.embeddings)


class VertexDirectEmbedder(nn.Module):
    """Vertex embeddings of unit length that are parameters themselves, (vertices, dim)."""

    def __init__(self, vertices: int, dim: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(vertices, dim))

    def forward(self) -> Tensor:
        """Return (N, dim), unit length, float32."""
        return unit_embedding(self.embeddings)


@torch.no_grad()
def closest_vertices(
    embedding: Tensor, segmentation: Tensor | None, vertices: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Find the vertex that each pixel shows: the closest embedding, inside the coarse segmentation's foreground.

    As in DensePose, the maps are resized to the box first and compared as they are. Since vertices have unit length,
    the answer is the same for embeddings of any length.

    Args:
        embedding: (B, D, s, s), any float dtype; not normalised.
        segmentation: (B, classes, s, s) logits, class 0 the background; None takes every pixel as foreground.
        vertices: (N, D), unit length.
        size: (height, width) of the boxes in pixels.

    Returns:
        Vertex numbers (B, height, width), int64, 0 outside the foreground; and the foreground, bool, of that shape.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        embedding = _resize(embedding, size)
        foreground = torch.ones_like(embedding[:, 0], dtype=torch.bool)
        if segmentation is not None:
            foreground = _resize(segmentation, size).argmax(dim=1) > 0
        closest = torch.zeros_like(foreground, dtype=torch.long)
        closest[foreground] = _nearest(embedding.movedim(1, -1)[foreground], vertices.float())
    return closest, foreground


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps.float(), size, mode="bilinear", align_corners=False)


def _nearest(queries: Tensor, vertices: Tensor) -> Tensor:
    """Return the index (P,) of the row of ``vertices`` (N, D) nearest to each of ``queries`` (P, D)."""
    rows = max(1, MAX_DISTANCES // len(vertices))
    parts = [squared_distances(part, vertices).argmin(dim=1) for part in queries.split(rows)]
    return torch.cat(parts)
