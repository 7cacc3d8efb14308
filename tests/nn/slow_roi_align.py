"""ROIAlign written from its definition, in loops."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _bilinear(plane: list[list[float]], y: float, x: float) -> float:
    """One sample by the definition of ROIAlign: cell centres at integers, border kept for one cell, then 0."""
    height, width = len(plane), len(plane[0])
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * plane[top][left] + dx * plane[top][right]
    lower = (1 - dx) * plane[bottom][left] + dx * plane[bottom][right]
    return (1 - dy) * upper + dy * lower


def slow_roi_align(features: Tensor, boxes: Tensor, size: int, scale: float, samples: int = 2) -> Tensor:
    """The pooling bin by bin and sample by sample."""
    out = torch.zeros(*features.shape[:2], size, size)
    for b, (x1, y1, x2, y2) in enumerate((boxes.double() * scale).tolist()):
        bin_height, bin_width = max(y2 - y1, 1.0) / size, max(x2 - x1, 1.0) / size
        for c, plane in enumerate(features[b].double().tolist()):
            for p in range(size):
                for q in range(size):
                    total = 0.0
                    for i in range(samples):
                        for j in range(samples):
                            y = y1 + (p + (i + 0.5) / samples) * bin_height
                            total += _bilinear(plane, y, x1 + (q + (j + 0.5) / samples) * bin_width)
                    out[b, c, p, q] = total / samples**2
    return out
