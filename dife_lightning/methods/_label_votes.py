"""Votes of labelled faces on where a landmark is: similarity maps of their descriptors, and points read from them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.geometry.coordinates import sample_points
from dife_lightning.geometry.heatmaps import DecodeOptions, Detections, decode
from dife_lightning.matching import MAX_CACHED, MAX_SIMILARITIES


def descriptors(maps: Tensor, points: Tensor, visible: Tensor, width: int, height: int) -> Tensor:
    """Return the unit vectors (N, K, n) of embeddings (N, n, h, w) at points (N, K, 2), pixels of the images.

    They are read bilinearly, and 0 where not ``visible`` (N, K).
    """
    with torch.autocast(maps.device.type, enabled=False):
        return F.normalize(sample_points(maps, points, width, height), dim=-1) * visible[..., None]


def prototypes(vectors: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean vector (1, K, n) of each landmark over the faces that show it, and (1, K) bool: any does.

    The mean is not made unit: its product with a unit vector is the mean cosine.
    """
    counts = visible.sum(dim=0, keepdim=True)
    return vectors.sum(dim=0, keepdim=True) / counts.clamp(min=1)[..., None], counts > 0


def vote_maps(vectors: Tensor, visible: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return how much each cell of target embeddings resembles the landmarks of N labelled faces.

    Args:
        vectors: (N, K, n) descriptors.
        visible: (N, K) bool, which of them count.
        targets: (B, n, h, w) embeddings, of any length.
        temperature: t of the smooth maximum ``t log mean_i exp(cosine_i / t)`` over the faces.

    Returns:
        (B, K, h, w) float32; 0 for landmarks that no face shows.
    """
    cells = F.normalize(targets.float().flatten(2), dim=1)
    return vote_cells(vectors, visible, cells, temperature).unflatten(-1, targets.shape[-2:])


def vote_cells(vectors: Tensor, visible: Tensor, cells: Iterable[Tensor], temperature: float) -> Tensor:
    """Do what :func:`vote_maps` does for unit ``cells`` (n, h * w) of each target; returns (B, K, h * w)."""
    with torch.autocast(vectors.device.type, enabled=False):
        if len(vectors) == 1:
            shown_ones = vectors[0] * visible[0, :, None]
            return torch.stack([shown_ones @ cell for cell in cells])
        by_landmark, shown, by_target = vectors.transpose(0, 1).contiguous(), visible.T, []
        for cell in cells:
            at_once = MAX_CACHED if cell.device.type == "cpu" else MAX_SIMILARITIES
            step = max(1, at_once // (len(vectors) * cell.shape[-1]))
            parts = zip(by_landmark.split(step), shown.split(step), strict=True)
            by_target.append(torch.cat([_smooth_maximum(*part, cell, temperature) for part in parts]))
        return torch.stack(by_target)


def _smooth_maximum(vectors: Tensor, visible: Tensor, cells: Tensor, temperature: float) -> Tensor:
    """Return (k, h * w) of descriptors (k, N, n) of k landmarks and the unit vectors (n, h * w) of one image."""
    cosines = (vectors.flatten(0, 1) @ cells).unflatten(0, visible.shape)
    counts = visible.sum(dim=1)[:, None]
    cosines.masked_fill_(~visible[..., None], -math.inf)
    highest = cosines.amax(dim=(1, 2), keepdim=True).clamp(min=-1)
    total = cosines.sub_(highest).div_(temperature).exp_().sum(dim=1)
    # Far below the highest cosine all exponentials are 0; no mean of cosines is below -1.
    found = highest[:, 0] + temperature * (total / counts.clamp(min=1)).log()
    return torch.where(counts > 0, found.clamp(min=-1), 0)


def read_votes(maps: Tensor, image_size: tuple[int, int], window: float, temperature: float) -> Detections:
    """Return the points of vote maps (B, K, h, w): the best cells, refined by a soft-argmax in a window.

    Args:
        maps: (B, K, h, w).
        image_size: width and height of the images in pixels.
        window: side of a square around the best cell, relative to the map's longer side.
        temperature: of the softmax in the square.

    Returns:
        Points (B, K, 2) in pixels, and the highest value of each map.
    """
    highest = maps.amax(dim=(-2, -1))
    heat = ((maps - highest[..., None, None]) / temperature).exp()
    # The decoder's window reaches 3 sigma to each side.
    options = DecodeOptions("soft-argmax", sigma=window * max(maps.shape[-2:]) / 6, temperature=1.0)
    return Detections(decode(heat, image_size, options).points, highest)
