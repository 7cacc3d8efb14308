"""Left/right swaps: a transferred point is nearer to the truth of its mirrored partner than to its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dife_lightning.faces.schemes import flip_permutation
from dife_lightning.metrics.predictions import PointTable


def swap_events(
    table: PointTable, flip_pairs: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Find the points that were swapped, of N pairs with K landmarks, of which a flip exchanges ``flip_pairs``.

    Returns (N, K) 1 for a swap and 0 otherwise, and (N, K) which points count: those with a partner, if both are
    visible. A point at equal distance from both is no swap.
    """
    order = flip_permutation(len(table.landmarks), tuple(flip_pairs))
    own = np.linalg.norm(table.predicted - table.truth, axis=-1)
    partner = np.linalg.norm(table.predicted - table.truth[:, order], axis=-1)
    counted = table.visible & table.visible[:, order] & (order != np.arange(len(order)))
    return (counted & (partner < own)).astype(np.float64), counted
