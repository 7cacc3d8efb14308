"""Canonical surface coordinates (u, v), in which the same part of the face has the same position in all species.

A thin-plate spline (Bookstein, PAMI 1989) through the nine landmarks and sixteen points of the outline maps an
individual's face plane to the canonical frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.anatomy import OUTLINE_ANGLES, Individual, outline_points

Array = NDArray[np.float64]

#: Canonical (u, v) of the nine landmarks: u to the right, v down, in [-1, 1].
CANONICAL_LANDMARKS: Array = np.array(
    [
        (-0.56, -0.20),
        (-0.18, -0.15),
        (0.18, -0.15),
        (0.56, -0.20),
        (0.0, 0.27),
        (-0.34, 0.54),
        (0.34, 0.54),
        (0.0, 0.50),
        (0.0, 0.66),
    ]
)
CANONICAL_OUTLINE: Array = np.stack((0.92 * np.cos(OUTLINE_ANGLES), 0.95 * np.sin(OUTLINE_ANGLES)), -1)
#: Smallest allowed Jacobian determinant of the map (1 keeps areas); below it a face counts as folded.
MIN_JACOBIAN = 0.08


class ThinPlateSpline:
    """The smoothest map that takes ``source`` (n, 2) exactly to ``target`` (n, 2)."""

    def __init__(self, source: Array, target: Array) -> None:
        n = len(source)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = _kernel(source, source)
        system[:n, n] = system[n, :n] = 1
        system[:n, n + 1 :] = source
        system[n + 1 :, :n] = source.T
        weights = np.linalg.solve(system, np.concatenate((target, np.zeros((3, 2)))))
        self.source, self.bending, self.affine = source, weights[:n], weights[n:]

    def __call__(self, points: Array) -> Array:
        """Map ``points`` (n, 2)."""
        mapped: Array = _kernel(points, self.source) @ self.bending + self.affine[0] + points @ self.affine[1:]
        return mapped


def _kernel(a: Array, b: Array) -> Array:
    """Return r^2 log r^2 between all points of ``a`` and ``b``."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * (a @ b.T)
    np.maximum(square, 1e-12, out=square)
    return np.asarray(square * np.log(square))


def canonical_map(individual: Individual) -> ThinPlateSpline:
    """Return the map from the individual's face plane to the canonical frame."""
    source = np.concatenate((individual.landmarks, individual.outline))
    return ThinPlateSpline(source, np.concatenate((CANONICAL_LANDMARKS, CANONICAL_OUTLINE)))


def smallest_jacobian(spline: ThinPlateSpline, individual: Individual) -> float:
    """Return the smallest Jacobian determinant of ``spline`` over the face; 0 or less means that it folds."""
    rings = np.linspace(0, 1, 15)
    rim = outline_points(individual.traits.head, individual.bottom, np.linspace(0, 2 * np.pi, 32, endpoint=False))
    center = np.array([0.0, 0.1])
    points = (center + rings[:, None, None] * (rim - center)).reshape(-1, 2)
    step = 1e-3
    right = spline(points + np.array((step, 0.0))) - spline(points)
    down = spline(points + np.array((0.0, step))) - spline(points)
    return float((right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]).min() / step**2)
