"""The loss of heat maps: the mean squared difference of those that are known."""

from __future__ import annotations

import torch
from torch import Tensor


def heatmap_loss(maps: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the mean squared difference of heat maps, over all cells of those that are ``known``.

    Args:
        maps: (B, K, h, w), any float dtype.
        targets: (B, K, h, w).
        known: (B, K) bool, the maps that count; None for all.

    Returns:
        A float32 scalar; 0, with a gradient of 0, if no map counts.
    """
    with torch.autocast(maps.device.type, enabled=False):
        squares = (maps.float() - targets.float()).square().mean(dim=(-2, -1))
        if known is None:
            return squares.mean() if squares.numel() else squares.sum()
        return (squares * known).sum() / known.sum().clamp(min=1)
