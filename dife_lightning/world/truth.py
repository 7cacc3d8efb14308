"""Renders with dense ground truth, as cached arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.utils.caching import read_arrays, write_arrays
from dife_lightning.world.dataset import cache_path
from dife_lightning.world.scene.factors import Split
from dife_lightning.world.scene.renderer import WorldSample, render

#: Steps per unit of a stored coordinate; the rounding error is at most 1.6e-5, or 0.0003 px of a 64-px image.
UV_STEPS = 32_000
_UNKNOWN = np.int16(-32_768)
_ARRAYS = ("images", "uv", "points", "visible")


@dataclass(frozen=True)
class TruthArrays:
    """N renders of one species and their ground truth.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        uv: (N, S, S, 2) int16 canonical coordinates, see :func:`decode_uv`.
        points: (N, 9, 2) float32 landmarks, x then y, in pixels.
        visible: (N, 9) bool.
    """

    images: NDArray[np.uint8]
    uv: NDArray[np.int16]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of renders."""
        return len(self.images)


def encode_uv(uv: NDArray[np.float32]) -> NDArray[np.int16]:
    """Convert coordinates (..., 2) in [-1, 1] to int16; NaN is kept."""
    known = np.isfinite(uv)
    steps = np.rint(np.where(known, uv, 0) * UV_STEPS)
    return np.where(known, steps, _UNKNOWN).astype(np.int16)


def decode_uv(stored: NDArray[np.int16]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return coordinates (..., 2), 0 where unknown, and whether they are known (...)."""
    known = (stored != _UNKNOWN).all(-1)
    return np.where(known[..., None], stored, 0).astype(np.float32) / np.float32(UV_STEPS), known


def truth_arrays(species: str, split: Split, count: int, size: int, cache: Path | None = None) -> TruthArrays:
    """Render the faces 0 to ``count`` - 1 without framing; see :func:`~dife_lightning.world.dataset.render_arrays`.

    Raises:
        ConfigError: unknown species or split, a count below 1 or a size below 8.
    """
    path = cache_path(cache, species, split, count, size, "truth.npz")
    found = None if path is None else _read(path, count, size)
    if found is None:
        found = _stack([render(species, split, index, size=size) for index in range(count)])
        if path is not None:
            write_arrays(path, {name: getattr(found, name) for name in _ARRAYS})
    return found


def _stack(samples: list[WorldSample]) -> TruthArrays:
    return TruthArrays(
        images=np.stack([sample.image for sample in samples]),
        uv=np.stack([encode_uv(sample.uv) for sample in samples]),
        points=np.stack([sample.points for sample in samples]),
        visible=np.stack([sample.visible for sample in samples]),
    )


def _read(path: Path, count: int, size: int) -> TruthArrays | None:
    """Return the arrays of a cache file, or None if it is missing or damaged."""
    arrays = read_arrays(path, _ARRAYS)
    if arrays is None:
        return None
    shapes = ((count, size, size, 3), (count, size, size, 2), (count, 9, 2), (count, 9))
    kinds = (np.uint8, np.int16, np.float32, np.bool_)
    fits = [a.shape == s and a.dtype == k for a, s, k in zip(arrays.values(), shapes, kinds, strict=True)]
    return TruthArrays(**arrays) if all(fits) else None
