"""PCK curves: the share of points within a threshold of the truth, over a range of thresholds.

Thresholds are fractions of the crop's side (the default), or of a length of the target face, which does not depend on
the crop: the extent of its landmarks, or the distance between its eyes.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.metrics.keypoint_transfer import ERROR_SIDE, face_extent
from dife_lightning.metrics.predictions import PointTable

Normalizer = Literal["crop", "face", "interocular"]
Array = NDArray[np.float64]

#: Lowest and highest threshold of a curve, and the number of thresholds.
LOWEST, HIGHEST, STEPS = 0.01, 0.2, 20
#: Landmarks whose mean is an eye, by the protocols' names.
_EYES = {side: (f"{side}_eye", f"{side}_eye_outer", f"{side}_eye_inner") for side in ("left", "right")}


def thresholds(low: float = LOWEST, high: float = HIGHEST, steps: int = STEPS) -> Array:
    """Return evenly spaced thresholds (T,)."""
    return np.linspace(low, high, steps)


def normalized_errors(table: PointTable, by: Normalizer = "crop") -> tuple[Array, NDArray[np.bool_]]:
    """Return (N, K) errors as fractions of a length, and (N, K) which points count.

    Args:
        table: N pairs, K landmarks.
        by: ``crop`` for the side of the crop; ``face`` for the largest extent, in x or y, of the visible true
            landmarks in the target image; ``interocular`` for the distance of the true eye centres there. Only pairs
            with two such landmarks, or with both eyes, at different places count then.

    Raises:
        ConfigError: another normaliser.
        DataError: ``interocular`` without landmarks of both eyes.
    """
    if by not in get_args(Normalizer):
        raise ConfigError(f"PCK by '{by}': {did_you_mean(by, get_args(Normalizer))}")
    if by == "crop":
        return table.errors / ERROR_SIDE, table.visible
    length = _extent(table) if by == "face" else _eye_distance(table)
    known = length > 0
    errors = np.linalg.norm(table.predicted - table.truth, axis=-1) / np.where(known, length, 1.0)[:, None]
    return errors, table.visible & known[:, None]


def _extent(table: PointTable) -> Array:
    """Return (N,) pixels, the larger of width and height of the visible true landmarks."""
    return face_extent(torch.from_numpy(table.truth), torch.from_numpy(table.visible)).numpy()


def _eye_distance(table: PointTable) -> Array:
    """Return (N,) pixels between the true eye centres; 0 unless all landmarks of both eyes are visible."""
    members = [[k for k, name in enumerate(table.landmarks) if name in names] for names in _EYES.values()]
    if not all(members):
        raise DataError(f"no eyes among the landmarks {', '.join(table.landmarks)}: PCK by interocular needs both")
    left, right = (table.truth[:, group].mean(axis=1) for group in members)
    seen = np.asarray(table.visible[:, members[0] + members[1]].all(axis=1))
    return np.where(seen, np.linalg.norm(left - right, axis=-1), 0.0)


def pck_hits(errors: Array, counted: NDArray[np.bool_], at: Array) -> Array:
    """Return (N, T) the number of a pair's counted points within each threshold of ``at`` (T,)."""
    return np.asarray(((errors[..., None] <= at) & counted[..., None]).sum(axis=1).astype(np.float64))


def pck_area(errors: Array) -> Array:
    """Return the exact contribution of each point, 0 to 1, to the area under the PCK curve from LOWEST to HIGHEST.

    The curve of one point is a step at its error; the share of the range above the step is the point's contribution.
    The mean over points is the mean PCK over the range.
    """
    return np.clip((HIGHEST - errors) / (HIGHEST - LOWEST), 0.0, 1.0)
