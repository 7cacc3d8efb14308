"""The one shape in which every reader of annotated faces hands out its items."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class FaceItem(TypedDict):
    """One annotated face.

    ``image``: (H, W, 3) uint8 RGB. ``points``: (K, 2) float32, x then y, pixels of ``image`` with pixel centres
    at integers. ``visible``: (K,) bool. ``name``: unique within its dataset.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    name: str
