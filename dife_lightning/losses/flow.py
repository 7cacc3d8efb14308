"""Sparse flow from common landmarks of two images, and the end-point error of a flow.

Reference: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021, and its official training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.geometry.coordinates import pixel_grid, resize_points

#: Side in cells of the box around a cell in which landmarks define its flow: 35 px at a stride of 16.
REACH = 35 / 16


def sparse_flow(
    start: Tensor, end: Tensor, visible: Tensor, size: int, side: int, reach: float = REACH
) -> tuple[Tensor, Tensor]:
    """Give each cell of a grid the mean displacement of the landmarks that start in the box around its centre.

    Args:
        start: (B, K, 2) landmarks of the images in which the flow starts, in pixels.
        end: (B, K, 2) the same landmarks in the images in which it ends.
        visible: (B, K) bool; False ignores a landmark.
        size: side of the images.
        side: side of the grid.
        reach: side of the box, in cells.

    Returns:
        (B, 2, side, side) float32, x then y, in cells, and (B, side, side) bool: whether the box has a landmark. A flow
        of 0 is valid (the official training treats it as unknown).
    """
    cells, ends = (resize_points(points.float(), (size, size), (side, side)) for points in (start, end))
    distance = (pixel_grid(side, side, start.device) - cells[:, :, None, None]).abs().amax(dim=-1)
    near = (distance <= reach / 2) & visible[:, :, None, None]
    total = torch.einsum("bkyx,bkc->bcyx", near.float(), torch.where(visible[..., None], ends - cells, 0))
    count = near.sum(dim=1)
    return total / count.clamp(min=1)[:, None], count > 0


def end_point_error(flow: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Mean distance between a predicted and a true flow.

    Args:
        flow: (B, 2, h, w), predicted.
        wanted: (B, 2, h, w), true.
        known: (B, h, w) bool, the cells where ``wanted`` is known.

    Returns:
        Scalar, float32, in the unit of the flows: the mean over all known cells of the batch; 0 if there are none.
    """
    with torch.autocast(flow.device.type, enabled=False):
        difference = torch.where(known[:, None], flow.float() - wanted.float(), 0)
        return torch.linalg.vector_norm(difference, dim=1).sum() / known.sum().clamp(min=1)
