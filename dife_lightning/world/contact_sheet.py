"""An overview image: renders of each species with their canonical coordinates and landmarks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.utils.checks import require
from dife_lightning.world.face.species import list_species
from dife_lightning.world.scene.factors import Split
from dife_lightning.world.scene.framing import FramingKind, framing_for
from dife_lightning.world.scene.renderer import WorldSample, render

_GRAY = 24
_SEEN, _HIDDEN = (255, 255, 255), (255, 70, 70)


def contact_sheet(
    species: Sequence[str] | None = None,
    *,
    split: Split = "val",
    columns: int = 8,
    size: int = 128,
    framing: FramingKind = "plain",
    start: int = 0,
) -> NDArray[np.uint8]:
    """Draw two rows per species: renders, and (u, v) as colours with the landmarks (hidden ones in red).

    Returns:
        (rows, columns * size, 3) uint8 RGB.

    Raises:
        ConfigError: unknown species, split or framing, or fewer than one column.
    """
    require(at_least=1, columns=columns)
    rows = []
    for name in species or list_species():
        samples = [
            render(name, split, index, size=size, framing=framing_for(framing, 0, index))
            for index in range(start, start + columns)
        ]
        rows.append(np.concatenate([sample.image for sample in samples], axis=1))
        rows.append(np.concatenate([_truth(sample) for sample in samples], axis=1))
    return np.concatenate(rows, axis=0)


def uv_colors(uv: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert canonical coordinates (h, w, 2) to colours (h, w, 3); NaN becomes dark grey."""
    face = np.isfinite(uv[..., 0])
    u, v = (np.nan_to_num(uv[..., i]) * 0.5 + 0.5 for i in (0, 1))
    checks = 0.9 + 0.1 * np.sign(np.sin(5 * np.pi * u) * np.sin(5 * np.pi * v))
    colors = np.stack((u, 0.15 + 0.75 * v, 0.85 - 0.5 * u * v - 0.3 * v), -1) * checks[..., None]
    colors = np.where(face[..., None], np.clip(colors, 0, 1) * 255, _GRAY)
    return np.asarray(colors, np.uint8)


def _truth(sample: WorldSample) -> NDArray[np.uint8]:
    picture = uv_colors(sample.uv)
    radius = max(1, round(len(picture) / 64))
    for (x, y), visible in zip(sample.points, sample.visible, strict=True):
        color = _SEEN if visible else _HIDDEN
        cv2.circle(picture, (round(float(x)), round(float(y))), radius, color, -1, cv2.LINE_AA)
    return picture
