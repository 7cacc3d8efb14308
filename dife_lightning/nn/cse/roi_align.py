"""ROIAlign as CSE was trained with: the older variant, which is off by half a cell.

Reference: Mask R-CNN, ICCV 2017, section 3; ``aligned=False`` in torchvision, ``ROIAlign`` (not ``ROIAlignV2``) in
detectron2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def roi_align_legacy(features: Tensor, boxes: Tensor, size: int, scale: float, samples: int = 2) -> Tensor:
    """Pool one box per map to ``size`` x ``size`` cells, without the half-cell correction.

    A box edge at pixel x is at ``x * scale`` **in cells whose centres are at integers** (aligned variants subtract
    0.5). Each bin is the mean of ``samples`` x ``samples`` bilinear samples. Boxes are at least one cell wide and high.
    Samples up to one cell outside the map take the border's value, others are 0.

    Bilinear sampling is linear and separable, so a box is pooled by one matrix for rows and one for columns. This runs
    on any device, with a deterministic backward pass.

    Args:
        features: (B, C, h, w), any float dtype.
        boxes: (B, 4), x1, y1, x2, y2 in pixels of the image.
        size: side of the result (official: 28).
        scale: cells per pixel (official: 1 / 4).
        samples: samples per bin along each side (official: 2).

    Returns:
        (B, C, size, size) float32.
    """
    height, width = features.shape[-2:]
    with torch.autocast(features.device.type, enabled=False):
        x1, y1, x2, y2 = (boxes.float() * scale).unbind(-1)
        rows = _pooling_matrix(y1, y2, height, size, samples)
        columns = _pooling_matrix(x1, x2, width, size, samples)
        return torch.einsum("bph,bchw,bqw->bcpq", rows, features.float(), columns)


def _pooling_matrix(start: Tensor, end: Tensor, length: int, size: int, samples: int) -> Tensor:
    """Return the weights (B, size, length) that pool ``length`` cells between ``start`` and ``end`` (B,) into bins."""
    steps = (torch.arange(size * samples, device=start.device) + 0.5) / (size * samples)
    position = start[:, None] + (end - start).clamp(min=1.0)[:, None] * steps
    inside = (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    distance = (position[..., None] - torch.arange(length, device=start.device)).abs()
    weights = (1 - distance).clamp(min=0) * inside[..., None]
    return weights.unflatten(1, (size, samples)).mean(dim=2)
