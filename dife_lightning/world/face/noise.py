"""Periodic noise tiles with fixed seeds, and array functions for painting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Reals = NDArray[np.floating]

TILE = 256  #: side of a noise tile in samples; tiles are periodic
TILES_PER_KIND = 6
_ROW = 256


@lru_cache(maxsize=1)
def noise_pool() -> dict[str, tuple[Floats, ...]]:
    """Return ``smooth``, ``rough`` and ``streak`` tiles (zero mean, unit variance) and ``cells`` (0 to 1)."""
    y, x = np.meshgrid(np.fft.fftfreq(TILE) * TILE, np.fft.fftfreq(TILE) * TILE, indexing="ij")
    radius = np.hypot(x, y)
    filters = {
        "smooth": (radius > 0.5) / (1 + (radius / 3) ** 2.6),
        "rough": (radius > 3) / (1 + (radius / 16) ** 1.5),
        # Hairs: short waves in x, long waves in y.
        "streak": np.exp(-((np.abs(x) - 42) ** 2) / (2 * 22**2) - (y / 7) ** 2),
    }
    numbers = range(TILES_PER_KIND)
    pool = {kind: tuple(_filtered(response, [len(kind), i]) for i in numbers) for kind, response in filters.items()}
    return pool | {"cells": tuple(_cells([77, i]) for i in numbers)}


def _filtered(response: NDArray[np.float64], seed: list[int]) -> Floats:
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    tile = np.fft.ifft2(np.fft.fft2(white) * response).real
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def _cells(seed: list[int], count: int = 150) -> Floats:
    """Return the distance to the nearest of jittered points, relative to their mean spacing, at most 1."""
    rng = np.random.default_rng(seed)
    grid = np.zeros((3 * TILE, 3 * TILE), np.uint8)
    side = int(np.sqrt(count))
    cell = TILE / side
    rows, cols = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    seeds = (
        np.stack((rows + 0.5 * (cols % 2), cols), -1).reshape(-1, 2) + rng.uniform(0.15, 0.85, (side * side, 2))
    ) * cell
    for row, col in seeds.astype(int) % TILE:
        grid[row::TILE, col::TILE] = 1
    distance = cv2.distanceTransform(1 - grid, cv2.DIST_L2, 5)[TILE : 2 * TILE, TILE : 2 * TILE]
    return np.minimum(distance / (0.6 * cell), 1).astype(np.float32)


def lookup(field: Floats, x: Floats, y: Floats, *, wrap: bool = False) -> Floats:
    """Sample ``field`` (H, W[, C]) bilinearly at n positions: columns ``x``, rows ``y``.

    Returns:
        (n,) or (n, C). Outside, the field is periodic with ``wrap``; otherwise its border value is used.
    """
    n = x.size
    rows = -(-n // _ROW)  # cv2.remap takes 2-D maps with sides below 32768
    maps = np.zeros((2, rows * _ROW), np.float32)
    maps[0, :n], maps[1, :n] = x, y
    if wrap:
        maps %= np.float32(field.shape[0])
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
    columns, lines = maps.reshape(2, rows, _ROW)
    read = cv2.remap(field, columns, lines, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(read, np.float32).reshape(rows * _ROW, *field.shape[2:])[:n]


def smoothstep(low: float | Reals, high: float | Reals, x: Reals) -> Floats:
    """Return 0 below ``low``, 1 above ``high``, and a cubic between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def blend(color: Floats, other: Sequence[float] | Reals, alpha: Reals) -> None:
    """Mix ``other`` (3,) or (n, 3) into ``color`` (n, 3) in place, with ``alpha`` (n,) in [0, 1]."""
    color += (np.asarray(other, np.float32) - color) * alpha[:, None]
