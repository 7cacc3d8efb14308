"""Colours that pictures share, without matplotlib, whose import takes long."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Of text, and of text that matters less.
INK, FAINT = "#1f2430", "#8a90a0"


def place_colors(places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a colour (P, 3) in [0, 1] for each place (P, 2) of a face: hue by its column, brightness by its row."""
    across, down = np.asarray(places, np.float32).reshape(-1, 2).T
    if not len(across):
        return np.zeros((0, 3))
    hues = np.stack((0.8 * 360 * across, np.full_like(across, 0.9), 1 - 0.6 * down), axis=-1)
    return np.asarray(cv2.cvtColor(hues[None], cv2.COLOR_HSV2RGB)[0], np.float64)
