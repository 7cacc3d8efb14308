"""Which photos to label next: those on which a model is least certain, as different from each other as possible.

The least certain quarter of the photos are the candidates. The first choice is the least certain photo; each further
one is the candidate that is farthest from all chosen so far (greedy k-centre). Nothing is drawn at random.

Reference: Active Learning for Convolutional Neural Networks: A Core-Set Approach (Sener & Savarese, ICLR 2018),
algorithm 1, which covers all photos; here it is confined to the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.utils.checks import require

#: Share of the photos that are candidates.
SHARE = 0.25


class NextLabel(NamedTuple):
    """A photo to label.

    ``face`` is the number of its least certain face, ``doubt`` that of the face, from 0 (the most certain one of all)
    to 1, and ``distance`` that of its picture to the nearest one chosen before, NaN for the first.
    """

    face: int
    doubt: float
    distance: float


def doubts(confidence: NDArray[np.floating], flip_shifts: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how uncertain a model is on each face, relative to the others.

    Args:
        confidence: (N,) of the faces, higher is better.
        flip_shifts: (N,) of the faces, lower is better; NaN where there is none.

    Returns:
        (N,) in [0, 1]: the share of the other faces that have a higher confidence; where the face has a flip shift, the
        mean of this and of the share of the others whose flip shift is smaller.
    """
    by_confidence = _share_below(-np.asarray(confidence, np.float64))
    by_shift = _share_below(np.asarray(flip_shifts, np.float64))
    return np.where(np.isfinite(flip_shifts), (by_confidence + by_shift) / 2, by_confidence)


def label_next(
    photos: Sequence[str],
    confidence: NDArray[np.floating],
    flip_shifts: NDArray[np.floating],
    images: NDArray[np.floating],
    count: int,
) -> list[NextLabel]:
    """Return the photos to label next, in the order of choice.

    Args:
        photos: of the N faces; a photo counts by its least certain face.
        confidence: see :func:`doubts`.
        flip_shifts: see :func:`doubts`.
        images: (N, D) small grey pictures of the faces; brightness and contrast do not count.
        count: how many to choose; all photos if there are fewer.

    Raises:
        DataError: no face.
        ConfigError: a count below 1.
    """
    require(at_least=1, count=count)
    if not photos:
        raise DataError("no face to choose from: expected one or more")
    doubt = doubts(confidence, flip_shifts)
    first: dict[str, int] = {}
    for face in np.argsort(-doubt, kind="stable").tolist():
        first.setdefault(photos[face], face)
    candidates = list(first.values())[: max(count, math.ceil(SHARE * len(first)))]
    looks = _standardised(np.asarray(images, np.float64)[candidates])
    nearest, chosen = np.full(len(candidates), np.inf), list[NextLabel]()
    for _ in range(min(count, len(candidates))):
        row = int(nearest.argmax())  # of several, the least certain
        distance = float(nearest[row]) if chosen else math.nan
        chosen.append(NextLabel(candidates[row], float(doubt[candidates[row]]), distance))
        nearest = np.minimum(nearest, np.linalg.norm(looks - looks[row], axis=1))
        nearest[row] = -np.inf
    return chosen


def _share_below(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which share of the other values is smaller than each; NaN ones are left out."""
    known = np.sort(values[np.isfinite(values)])
    return np.searchsorted(known, values, side="left") / max(len(known) - 1, 1)


def _standardised(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return pictures (N, D) with mean 0 and length 1, whose distances are at most 2; flat ones are 0."""
    centred = images - images.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.where(length > 1e-6, centred / np.where(length > 0, length, 1), 0)
