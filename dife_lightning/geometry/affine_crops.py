"""Crops that are rotated, scaled and moved: resampled once, from the picture itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dife_lightning.geometry.crops import Padding, padded_indices

#: Part of the key of cached affine crops; increase it when the pixels for equal options change.
AFFINE_VERSION = 1
#: Most samples that are taken at once.
_CHUNK = 1 << 16


def affine_crop(
    image: NDArray[np.uint8], to_picture: NDArray[np.float64], size: int, padding: Padding = "zero"
) -> NDArray[np.uint8]:
    """Return the crop (size, size, 3) whose pixels ``to_picture`` (2, 3) maps to pixels of ``image`` (H, W, 3).

    The map is a similarity. Only what lies outside the picture is padded. Sampling is bilinear, and averaged over
    several samples a pixel where the picture shrinks, so that it blurs as much as ``crop_image`` does.
    """
    offsets = _offsets(math.sqrt(abs(np.linalg.det(to_picture[:, :2]))))
    taps = len(offsets)
    columns = (np.arange(size)[:, None] + offsets).ravel()
    crop = np.empty((size, size, 3), np.float32)
    step = max(1, _CHUNK // (len(columns) * taps))
    for first in range(0, size, step):
        rows = (np.arange(first, min(first + step, size))[:, None] + offsets).ravel()
        x, y = (a * columns + (b * rows[:, None] + c) for a, b, c in to_picture)
        samples = _bilinear(image, x, y, padding).reshape(-1, taps, size, taps, 3)
        crop[first : first + step] = samples.mean(axis=(1, 3))
    return np.rint(crop).clip(0, 255).astype(np.uint8)


def _offsets(scale: float) -> NDArray[np.float64]:
    """Return where a pixel is sampled, in pixels of the crop from its centre, on each axis.

    ``scale`` is the side of a pixel of the crop in pixels of the picture. Pillow's filter is a triangle of that half
    width, of variance scale^2 / 6 in pixels of the picture. Bilinear sampling has 1 / 6 of it; even steps d between n
    samples add d^2 (n^2 - 1) / 12, and n keeps d at one pixel or less.
    """
    spread = max(0.0, 2 * (scale**2 - 1))
    taps = math.ceil(math.sqrt(spread + 1) - 1e-9)
    distance = math.sqrt(spread / (taps**2 - 1)) / scale if taps > 1 else 0.0
    return np.asarray((np.arange(taps) - (taps - 1) / 2) * distance, np.float64)


def _bilinear(
    image: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64], padding: Padding
) -> NDArray[np.float32]:
    """Return (..., 3) values of ``image`` (H, W, 3) at x and y (...)."""
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    found = np.zeros((*x.shape, 3), np.float32)
    for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        rows, row_inside = padded_indices(row, image.shape[0], padding)
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            columns, column_inside = padded_indices(column, image.shape[1], padding)
            share = share_x * share_y
            if padding == "zero":
                share = share * (row_inside & column_inside)
            found += image[rows, columns] * share[..., None].astype(np.float32)
    return found


def invert_affine(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of an affine map (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack((linear, -linear @ matrix[:, 2]))


def compose_affine(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine map (2, 3) that is ``inner``, then ``outer``."""
    return np.column_stack((outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]))


def map_points(matrix: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map ``points`` (..., 2) by an affine map (2, 3)."""
    return (np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
