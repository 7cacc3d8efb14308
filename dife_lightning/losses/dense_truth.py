"""Learning from images whose every pixel's surface coordinate is known: a common code, and matches of known place.

The surface coordinate (u, v) is common to all species, so that two pixels match where it is the same. Two losses use
that: the embedding of a pixel is to be the code of its coordinate (:func:`surface_code_loss`), and the pixel that the
embedding finds in another image is to be the one of the same coordinate (:func:`true_partners` gives it to
:func:`~dife_lightning.losses.matching.semantic_matching_loss`).
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
        inside: (B, h, w) bool, the pixels that have one.
        scale: deviation of the code's frequencies, in turns per unit.

    Returns:
        Scalar, float32, 0 to 4.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        unit = F.normalize(embedding.float(), dim=1)
        wanted = surface_code(uv.float(), embedding.shape[1], scale).permute(0, 3, 1, 2)
        return reduce_pixels((unit - wanted).square().sum(dim=1), inside, "mean")


def true_partners(uv: Tensor, target_uv: Tensor, target_inside: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Find the pixels that show given surface coordinates.

    Args:
        uv: (B, Q, 2) coordinates to find.
        target_uv: (B, h, w, 2) coordinates of the images to search.
        target_inside: (B, h, w) bool, their pixels that have one.
        tolerance: largest distance, in units of the coordinate, at which a pixel shows it.

    Returns:
        (B, Q, 2) x and y of the nearest pixel, and (B, Q) bool: it is near enough.
    """
    with torch.autocast(uv.device.type, enabled=False):
        offset = uv.float()[:, :, None] - target_uv.float().flatten(1, 2)[:, None]
        distance = offset.square().sum(-1).masked_fill(~target_inside.flatten(1)[:, None], float("inf"))
    least, index = distance.min(dim=-1)
    width = target_uv.shape[2]
    return torch.stack((index % width, index // width), dim=-1).float(), least <= tolerance**2


def draw_pixels(inside: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Turn numbers ``uniform`` (B, Q) in [0, 1) into pixels that are ``inside`` (B, h, w), each equally likely.

    Returns:
        (B, Q) int64 numbers of pixels (row * w + column), and (B, Q) bool: False in images that have no such pixel.
    """
    flat = inside.flatten(1)
    first = flat.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices  # pixels inside come first
    count = flat.sum(dim=1, keepdim=True)
    return first.gather(1, (uniform * count).long()), (count > 0).expand_as(uniform)
