"""Small tables of predictions, with points."""

from __future__ import annotations

import numpy as np

from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.predictions import PointTable


def table_of(truth, predicted, visible=None, landmarks=None, side: float = 64.0) -> PointTable:
    """Return a table of (N, K, 2) points in images of ``side`` pixels."""
    truth, predicted = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    pairs, points = truth.shape[:2]
    names = tuple(landmarks or get_protocol("9-point" if points == 9 else "3-point").landmarks)
    seen = np.ones((pairs, points), dtype=bool) if visible is None else np.asarray(visible, dtype=bool)
    errors = np.hypot(*np.moveaxis(predicted - truth, -1, 0)) * 70 / side
    return PointTable(tuple(f"p{i}" for i in range(pairs)), names, errors, seen, truth, predicted)


def random_table(seed: int, pairs: int = 40, points: int = 9, spread: float = 5.0) -> PointTable:
    """Return a table of a method that errs by ``spread`` pixels in x and in y."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(10, 54, (pairs, points, 2))
    predicted = truth + rng.normal(0, spread, truth.shape)
    return table_of(truth, predicted, rng.random((pairs, points)) > 0.2)
