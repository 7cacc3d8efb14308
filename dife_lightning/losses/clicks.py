"""Losses for images with clicks: points whose canonical surface coordinate (u, v) is known.

:func:`click_loss` pulls the embedding at each click towards the code of its coordinate. :func:`between_clicks_loss`
does so for the pixels between the clicks, whose coordinates a thin-plate spline interpolates.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.faces.batches import ClickBatch
from dife_lightning.geometry.coordinates import sample_points
from dife_lightning.geometry.tps import interpolate, lattice
from dife_lightning.losses.dense_truth import surface_code_loss
from dife_lightning.losses.distillation import reduce_pixels
from dife_lightning.nn.surface import surface_code

#: Pixels further from the clicks' centre than so many times the furthest click have no coordinate: the spline would
#: extrapolate.
REACH = 1.5
#: Largest absolute u and v of an interpolated coordinate; the canonical face ends at 1.
LARGEST = 0.95


def click_loss(embedding: Tensor, batch: ClickBatch, scale: float) -> Tensor:
    """Mean squared distance between the unit embedding at each click and the code of its coordinate.

    Args:
        embedding: (B, n, h, w) of any length; n is even.
        batch: images and clicks; clicks that are not ``inside`` do not count.
        scale: see :func:`~dife_lightning.nn.surface.surface_code`.

    Returns:
        Scalar, float32, 0 to 4; 0 without clicks.
    """
    side = batch.images.shape[-1]
    with torch.autocast(embedding.device.type, enabled=False):
        found = F.normalize(sample_points(embedding.float(), batch.points, side, side), dim=-1)
        error = (found - surface_code(batch.uv, embedding.shape[1], scale)).square().sum(-1)
        return reduce_pixels(error, batch.inside, "mean")


def between_clicks_loss(embedding: Tensor, batch: ClickBatch, scale: float) -> Tensor:
    """Mean squared distance between unit embeddings and the codes of coordinates interpolated between the clicks.

    Args:
        embedding: (B, n, h, w) of any length; n is even.
        batch: images and clicks.
        scale: see :func:`~dife_lightning.nn.surface.surface_code`.

    Returns:
        Scalar, float32, 0 to 4.
    """
    uv, inside = between_clicks(batch, embedding.shape[-1])
    return surface_code_loss(embedding, uv, inside, scale)


def between_clicks(batch: ClickBatch, side: int) -> tuple[Tensor, Tensor]:
    """Return the interpolated coordinates (B, side, side, 2) of the pixels of an embedding, and where they hold.

    They hold near the clicks and on the face (:data:`REACH`, :data:`LARGEST`), and nowhere in an image with fewer than
    three clicks or clicks on a line. The second tensor is (B, side, side) bool.
    """
    size = batch.images.shape[-1]
    points = (2 * batch.points + 1) / size - 1  # outer edges of the image at -1 and 1
    at = lattice(side, side, points.device) * (1 - 1 / side)
    uv, known = interpolate(points, batch.uv, batch.inside, at)
    given = batch.inside[..., None]
    centre = (points * given).sum(1, keepdim=True) / given.sum(1, keepdim=True).clamp(min=1)
    furthest = ((points - centre).norm(dim=-1) * batch.inside).amax(1, keepdim=True)
    near = (at - centre).norm(dim=-1) <= REACH * furthest
    inside = near & (uv.abs() <= LARGEST).all(-1) & known[:, None]
    return uv.unflatten(1, (side, side)), inside.unflatten(1, (side, side))
