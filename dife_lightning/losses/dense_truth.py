"""Losses for images with dense ground truth: the surface coordinate (u, v), common to all species, of every pixel.

:func:`surface_code_loss` pulls the embedding of a pixel towards a fixed code of its coordinate. :func:`true_partners`
finds the corresponding pixels in another image for :func:`~dife_lightning.losses.matching.semantic_matching_loss`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.losses.distillation import reduce_pixels
from dife_lightning.nn.surface import surface_code


def surface_code_loss(embedding: Tensor, uv: Tensor, inside: Tensor, scale: float) -> Tensor:
    """Mean squared distance between unit embeddings and the codes of their surface coordinates.

    Args:
        embedding: (B, n, h, w) of any length; n is even.
        uv: (B, h, w, 2) surface coordinates.
        inside: (B, h, w) bool, True for pixels that have a coordinate.
        scale: see :func:`~dife_lightning.nn.surface.surface_code`.

    Returns:
        Scalar, float32, 0 to 4.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        unit = F.normalize(embedding.float(), dim=1)
        wanted = surface_code(uv.float(), embedding.shape[1], scale).permute(0, 3, 1, 2)
        return reduce_pixels((unit - wanted).square().sum(dim=1), inside, "mean")


def true_partners(uv: Tensor, target_uv: Tensor, target_inside: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Find the pixels with given surface coordinates.

    Args:
        uv: (B, Q, 2) coordinates to look up.
        target_uv: (B, h, w, 2) coordinates of the images to search.
        target_inside: (B, h, w) bool, True for pixels that have a coordinate.
        tolerance: largest distance, in units of the coordinate, that counts as a match.

    Returns:
        (B, Q, 2) x and y of the nearest pixel, and (B, Q) bool: whether it is within the tolerance.
    """
    with torch.autocast(uv.device.type, enabled=False):
        offset = uv.float()[:, :, None] - target_uv.float().flatten(1, 2)[:, None]
        distance = offset.square().sum(-1).masked_fill(~target_inside.flatten(1)[:, None], float("inf"))
    least, index = distance.min(dim=-1)
    width = target_uv.shape[2]
    return torch.stack((index % width, index // width), dim=-1).float(), least <= tolerance**2


def draw_pixels(inside: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Convert uniform numbers (B, Q) in [0, 1) to random pixels where ``inside`` (B, h, w) is True.

    Returns:
        (B, Q) int64 pixel indices (row * w + column), and (B, Q) bool: False for images without such pixels.
    """
    flat = inside.flatten(1)
    first = flat.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices  # pixels inside come first
    count = flat.sum(dim=1, keepdim=True)
    return first.gather(1, (uniform * count).long()), (count > 0).expand_as(uniform)
