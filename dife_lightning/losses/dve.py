"""Descriptor Vector Exchange (DVE): a dense loss between two warps of an image, by way of a third image.

Every descriptor of the first image is replaced by a weighted mean of an auxiliary image's descriptors, and must then
find its place in the second image. Descriptors that mean something else in images of other individuals or species fail.

The similarity maps between all pixels of two images are computed in slices, to bound memory. Since the loss is a
scalar, the gradient of a slice is computed together with its value, so that no map is computed twice.

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

#: Length of normalised descriptors. The logits are then 400 times the cosine; there is no other temperature.
LENGTH = 20.0
#: Values of a map that are computed at once: on a CPU four maps should fit its cache, a GPU needs large calls.
MAX_ON_CPU, MAX_ON_GPU = 2**19, 2**24


def dve_loss(
    features_1: Tensor, features_2: Tensor, features_aux: Tensor, grid: Tensor, pow: float = 0.5, normalize: bool = True
) -> Tensor:
    """Mean over cells of the expected distance from the true place, after the exchange of the descriptors.

    Args:
        features_1: (B, C, H, W) descriptors of the first images.
        features_2: (B, C, H, W) descriptors of the second images.
        features_aux: (B, C, H, W) descriptors of the auxiliary images.
        grid: (B, H_in, W_in, 2), x then y: where each pixel of the first image lies in the second, -1 and 1 being the
            centres of the outermost pixels. H_in and W_in are multiples of H and W; a cell lies at its first pixel.
        pow: exponent of the distance.
        normalize: scale the descriptors to length 20; otherwise they are compared as they are.

    Returns:
        Scalar, float32, in pixels of the images to the ``pow``. It can be differentiated once.

    Raises:
        ConfigError: shapes that do not fit each other, or an exponent that is not positive.
    """
    return _loss(features_1, features_2, features_aux, grid, pow, normalize)


def dense_correlation_loss(
    features_1: Tensor, features_2: Tensor, grid: Tensor, pow: float = 0.5, normalize: bool = True
) -> Tensor:
    """Like :func:`dve_loss` without the exchange: the first images' own descriptors are compared."""
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
    """Return the pixels per cell, down and across; ConfigError for shapes that do not fit."""
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
    """Mean over cells of the expected distance in the second images; the gradient is computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, aux: Tensor | None, places: _Places, training: bool) -> Tensor:
        """Take descriptors (B, N, C)."""
        total = first.new_zeros([])
        slopes = [torch.zeros_like(part) for part in (first, second, aux) if part is not None]
        for pairs, rows, maps in _slices(first, second):
            query, target, other = first[pairs, rows], second[pairs], None if aux is None else aux[pairs]
            found = query if other is None else _softmax(query, other, maps.scratch, maps.weights) @ other
            expected = _expect(found, target, places.of(pairs, rows), maps)
            total += expected.sum()
            if not training:
                continue
            back = _expect_back(found, expected, target, maps, slopes[1][pairs])
            if other is not None:
                back = _exchange_back(query, found, back, other, maps, slopes[2][pairs])
            slopes[0][pairs, rows] = back
        count = first.shape[0] * first.shape[1]
        ctx.save_for_backward(*(slope.div_(count) for slope in slopes))
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that the forward pass computed."""
        slopes = [slope * gradients[0] for slope in ctx.saved_tensors]
        return *slopes, *[None] * (5 - len(slopes))


@dataclass
class _Places:
    """True places of the first images' cells in the second, (B, N, 2), and the columns (W,) and rows (H,) there."""

    truth: Tensor
    x: Tensor
    y: Tensor
    power: float

    def of(self, pairs: slice, rows: slice) -> _Places:
        """Return those of a slice."""
        return _Places(self.truth[pairs, rows], self.x, self.y, self.power)

    def distances(self, out: Tensor) -> Tensor:
        """Fill ``out`` (b, q, H * W) with the distances of all cells from the true places, to the ``power``."""
        across, down = (self.truth[..., :1] - self.x).square(), (self.truth[..., 1:] - self.y).square()
        torch.add(down[..., None], across[..., None, :], out=out.unflatten(-1, (len(self.y), len(self.x))))
        return out.sqrt_().pow_(self.power)


class _Maps(NamedTuple):
    """Buffers (b, q, N) for the maps of a slice; allocating them anew would cost more than the arithmetic."""

    scratch: Tensor
    weights: Tensor
    chosen: Tensor
    product: Tensor


def _slices(first: Tensor, second: Tensor) -> Iterator[tuple[slice, slice, _Maps]]:
    """Yield slices of the pairs and of the queries, with the memory for their maps, the same for all."""
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
    """Fill ``out`` (b, q, N) with the weights of ``keys`` (b, N, C) for each of ``queries`` (b, q, C)."""
    return torch.softmax(torch.bmm(queries, keys.mT, out=scratch), dim=-1, out=out)


def _expect(found: Tensor, target: Tensor, places: _Places, maps: _Maps) -> Tensor:
    """Return the expected distances (b, q, 1); leaves the weights in ``chosen`` and the distances in ``scratch``."""
    _softmax(found, target, maps.scratch, maps.chosen)
    return torch.mul(maps.chosen, places.distances(maps.scratch), out=maps.product).sum(dim=-1, keepdim=True)


def _expect_back(found: Tensor, expected: Tensor, target: Tensor, maps: _Maps, target_slope: Tensor) -> Tensor:
    """Add to the slope of ``target`` and return that of ``found``."""
    slope = maps.scratch.sub_(expected).mul_(maps.chosen)  # of the expectation by the logits
    target_slope.baddbmm_(slope.mT, found)
    return slope @ target


def _exchange_back(
    query: Tensor, found: Tensor, back: Tensor, other: Tensor, maps: _Maps, other_slope: Tensor
) -> Tensor:
    """Add to the slope of ``other`` and return that of ``query``, given that of ``found``, their weighted mean."""
    other_slope.baddbmm_(maps.weights.mT, back)
    mean = (back * found).sum(dim=-1, keepdim=True)
    slope = torch.bmm(back, other.mT, out=maps.scratch).sub_(mean).mul_(maps.weights)
    other_slope.baddbmm_(slope.mT, query)
    return slope @ other
