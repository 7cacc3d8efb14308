"""Correlations of features, and flow from correlations: the parts of CATs without weights.

A correlation is (B, S, T): S cells of the source and T cells of the target image, both row by row (y * side + x).
Everything is computed in float32, also under autocast.

Reference: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.geometry.coordinates import pixel_grid

#: Replaces a maximum of exactly 0 as a divisor.
_TINY = 1e-30


def unit_length(features: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Divide features (B, C, ...) by their norm over C; ``epsilon`` is added to the squared norm."""
    return features / (features.square().sum(dim=1, keepdim=True) + epsilon).sqrt()


def correlate(source: Tensor, target: Tensor) -> Tensor:
    """Return the cosine similarities (B, S, T) of all cells of two feature maps (B, C, h, w)."""
    with torch.autocast(source.device.type, enabled=False):
        first, second = (unit_length(maps.float().flatten(2)) for maps in (source, target))
        return first.transpose(1, 2) @ second


def mutual(correlation: Tensor) -> Tensor:
    """Weight each value of (..., S, T) by its ratio to the maxima of its row and of its column.

    Mutual maxima keep their value. Negative values are not clipped.
    """
    with torch.autocast(correlation.device.type, enabled=False):
        correlation = correlation.float()
        weights = [correlation / _nonzero(correlation.amax(dim=d, keepdim=True)) for d in (-1, -2)]
        return correlation * (weights[0] * weights[1])


def _nonzero(largest: Tensor) -> Tensor:
    return torch.where(largest == 0, torch.full_like(largest, _TINY), largest)


def soft_argmax(correlation: Tensor, x_positions: Tensor, y_positions: Tensor, temperature: float) -> Tensor:
    """Return the expected source position (B, 2, h, w), x then y, of each target cell.

    Args:
        correlation: (B, h * w, h * w), source cells in rows, target cells in columns.
        x_positions: (w,) x of the columns of source cells, from -1 to 1.
        y_positions: (h,) y of the rows of source cells.
        temperature: of the softmax over the source cells.
    """
    width, height = len(x_positions), len(y_positions)
    with torch.autocast(correlation.device.type, enabled=False):
        weights = F.softmax(correlation.float() / temperature, dim=1).unflatten(1, (height, width))
        x = torch.einsum("byxt,x->bt", weights, x_positions.float())
        y = torch.einsum("byxt,y->bt", weights, y_positions.float())
    return torch.stack((x, y), dim=1).unflatten(2, (height, width))


def to_flow(positions: Tensor) -> Tensor:
    """Convert the source positions (B, 2, h, w) of target cells to flow in cells; -1 and 1 are outermost centres."""
    height, width = positions.shape[-2:]
    last = positions.new_tensor([width - 1, height - 1])[:, None, None]
    return (positions + 1) * last / 2 - pixel_grid(height, width, positions.device).permute(2, 0, 1)
