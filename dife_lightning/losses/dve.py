"""Descriptor Vector Exchange (DVE): a dense loss between two warps of an image, through a third image.

Each descriptor of the first image is replaced by a weighted mean of the descriptors of an auxiliary image, and must
then match its true position in the second image. This makes descriptors consistent across individuals and species.

The similarity maps between all pixels of two images are computed in slices to bound memory. The gradient of a slice is
computed together with its value, so no map is computed twice.

Reference: Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import to_pixels

#: Norm of normalised descriptors. The logits are 400 times the cosine; there is no other temperature.
LENGTH = 20.0
#: Values of a similarity map computed at once: four maps should fit the cache of a CPU; a GPU needs large calls.
MAX_ON_CPU, MAX_ON_GPU = 2**19, 2**24


def dve_loss(
    features_1: Tensor, features_2: Tensor, features_aux: Tensor, grid: Tensor, pow: float = 0.5, normalize: bool = True
) -> Tensor:
    """Mean over cells of the expected distance to the true position, after the exchange of the descriptors.

    Args:
        features_1: (B, C, H, W) descriptors of the first images.
        features_2: (B, C, H, W) descriptors of the second images.
        features_aux: (B, C, H, W) descriptors of the auxiliary images.
        grid: (B, H_in, W_in, 2), x then y: position in the second image of each pixel of the first, -1 and 1 being the
            centres of the outermost pixels. H_in and W_in are multiples of H and W; a cell is at its first pixel.
        pow: exponent of the distance.
        normalize: scale the descriptors to length 20.

    Returns:
        Scalar, float32: distance in pixels of the images, to the power ``pow``. Once differentiable.

    Raises:
        ConfigError: shapes that do not fit together, or ``pow`` is not positive.
    """
    return _loss(features_1, features_2, features_aux, grid, pow, normalize)


def dense_correlation_loss(
    features_1: Tensor, features_2: Tensor, grid: Tensor, pow: float = 0.5, normalize: bool = True
) -> Tensor:
    """Like :func:`dve_loss`, without the exchange of descriptors."""
    return _loss(features_1, features_2, None, grid, pow, normalize)


def _loss(first: Tensor, second: Tensor, aux: Tensor | None, grid: Tensor, power: float, normalize: bool) -> Tensor:
    down, across = _steps(first, second, aux, grid, power)
    height, width = grid.shape[1:3]
    with torch.autocast(grid.device.type, enabled=False):
        descriptors = [None if part is None else _descriptors(part, normalize) for part in (first, second, aux)]
        truth = to_pixels(grid.detach().float(), width, height, align_corners=True)[:, ::down, ::across].flatten(1, 2)
        x, y = (torch.arange(0.0, end, step, device=grid.device) for end, step in ((width, across), (height, down)))
        training = torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in descriptors)
        value: Tensor = _ExpectedDistance.apply(*descriptors, _Places(truth, x, y, power), training)
    return value


def _steps(first: Tensor, second: Tensor, aux: Tensor | None, grid: Tensor, power: float) -> tuple[int, int]:
    """Return the pixels per cell in y and x; ConfigError for shapes that do not fit together."""
    shapes = [tuple(part.shape) for part in (first, second, aux) if part is not None]
    height, width = shapes[0][2:]
    if len(set(shapes)) > 1 or len(grid) != len(first):
        found = f"{', '.join(map(str, shapes))} and a grid {tuple(grid.shape)}"
        raise ConfigError(f"DVE loss: found features {found}; expected features of one shape, and a grid for each pair")
    if grid.shape[1] % height or grid.shape[2] % width:
        found, expected = f"{grid.shape[2]} x {grid.shape[1]}", f"{width} x {height}"
        raise ConfigError(f"DVE loss: the grid is {found}; expected multiples of the features' {expected}")
    if not power > 0:
        raise ConfigError(f"DVE loss: pow is {power}; expected a number above 0 (0.5 is the default)")
    return grid.shape[1] // height, grid.shape[2] // width


def _descriptors(features: Tensor, normalize: bool) -> Tensor:
    """Return (B, H * W, C) float32."""
    vectors = features.float().flatten(2).transpose(1, 2).contiguous()
    return F.normalize(vectors, dim=-1) * LENGTH if normalize else vectors


class _ExpectedDistance(torch.autograd.Function):
    """Mean over cells of the expected distance. The forward pass also computes the gradients."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, aux: Tensor | None, places: _Places, training: bool) -> Tensor:
        """Compute the loss and the gradients for descriptors (B, N, C)."""
        total = first.new_zeros([])
        grads = [torch.zeros_like(part) for part in (first, second, aux) if part is not None]
        for pairs, rows, maps in _slices(first, second):
            query, target, other = first[pairs, rows], second[pairs], None if aux is None else aux[pairs]
            found = query if other is None else _softmax(query, other, maps.scratch, maps.weights) @ other
            expected = _expect(found, target, places.of(pairs, rows), maps)
            total += expected.sum()
            if not training:
                continue
            back = _expect_back(found, expected, target, maps, grads[1][pairs])
            if other is not None:
                back = _exchange_back(query, found, back, other, maps, grads[2][pairs])
            grads[0][pairs, rows] = back
        count = first.shape[0] * first.shape[1]
        ctx.save_for_backward(*(gradient.div_(count) for gradient in grads))
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that the forward pass computed."""
        grads = [gradient * outer[0] for gradient in ctx.saved_tensors]
        return *grads, *[None] * (5 - len(grads))


@dataclass
class _Places:
    """True positions (B, N, 2) in the second images; x (W,) and y (H,) of the cells there; exponent of the distance."""

    truth: Tensor
    x: Tensor
    y: Tensor
    power: float

    def of(self, pairs: slice, rows: slice) -> _Places:
        """Return a slice."""
        return _Places(self.truth[pairs, rows], self.x, self.y, self.power)

    def distances(self, out: Tensor) -> Tensor:
        """Fill ``out`` (b, q, H * W) with the distances between all cells and the true positions, to the ``power``."""
        across, down = (self.truth[..., :1] - self.x).square(), (self.truth[..., 1:] - self.y).square()
        torch.add(down[..., None], across[..., None, :], out=out.unflatten(-1, (len(self.y), len(self.x))))
        return out.sqrt_().pow_(self.power)


class _Maps(NamedTuple):
    """Buffers (b, q, N) for one slice; new allocations would cost more than the arithmetic."""

    scratch: Tensor
    weights: Tensor
    chosen: Tensor
    product: Tensor


def _slices(first: Tensor, second: Tensor) -> Iterator[tuple[slice, slice, _Maps]]:
    """Yield slices of the pairs and the queries, with buffers that all slices share."""
    pairs, queries, targets = len(first), first.shape[1], second.shape[1]
    limit = MAX_ON_CPU if first.device.type == "cpu" else MAX_ON_GPU
    rows = min(queries, max(1, limit // targets))
    several = min(pairs, max(1, limit // (rows * targets)))
    memory = first.new_empty(4, several * rows * targets)
    for pair in range(0, pairs, several):
        for row in range(0, queries, rows):
            shape = (min(several, pairs - pair), min(rows, queries - row), targets)
            yield (
                slice(pair, pair + several),
                slice(row, row + rows),
                _Maps(*(m[: math.prod(shape)].view(shape) for m in memory)),
            )


def _softmax(queries: Tensor, keys: Tensor, scratch: Tensor, out: Tensor) -> Tensor:
    """Fill ``out`` (b, q, N) with the softmax over ``keys`` (b, N, C) for each of ``queries`` (b, q, C)."""
    return torch.softmax(torch.bmm(queries, keys.mT, out=scratch), dim=-1, out=out)


def _expect(found: Tensor, target: Tensor, places: _Places, maps: _Maps) -> Tensor:
    """Return the expected distances (b, q, 1); the weights stay in ``chosen``, the distances in ``scratch``."""
    _softmax(found, target, maps.scratch, maps.chosen)
    return torch.mul(maps.chosen, places.distances(maps.scratch), out=maps.product).sum(dim=-1, keepdim=True)


def _expect_back(found: Tensor, expected: Tensor, target: Tensor, maps: _Maps, target_gradient: Tensor) -> Tensor:
    """Add to the gradient of ``target`` and return that of ``found``."""
    gradient = maps.scratch.sub_(expected).mul_(maps.chosen)  # gradient of the logits
    target_gradient.baddbmm_(gradient.mT, found)
    return gradient @ target


def _exchange_back(
    query: Tensor, found: Tensor, back: Tensor, other: Tensor, maps: _Maps, other_gradient: Tensor
) -> Tensor:
    """Add to the gradient of ``other`` and return that of ``query``, given ``back``, the gradient of ``found``."""
    other_gradient.baddbmm_(maps.weights.mT, back)
    mean = (back * found).sum(dim=-1, keepdim=True)
    gradient = torch.bmm(back, other.mT, out=maps.scratch).sub_(mean).mul_(maps.weights)
    other_gradient.baddbmm_(gradient.mT, query)
    return gradient @ other
