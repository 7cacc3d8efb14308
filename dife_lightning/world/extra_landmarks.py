"""Points of the head with ground truth besides the nine landmarks.

Points of the face have fixed canonical (u, v), the same for all species; the surface teacher was trained with clicks on
the whole face. Points of the ears have no (u, v): neither clicks nor landmarks are ever on an ear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.anatomy import Individual, outline_points
from dife_lightning.world.face.canonical import ThinPlateSpline
from dife_lightning.world.face.relief import ear_axis
from dife_lightning.world.face.species import Species
from dife_lightning.world.scene.factors import Split, draw_factors
from dife_lightning.world.scene.framing import Framing
from dife_lightning.world.scene.renderer import check_size, look_at

Array = NDArray[np.float64]

#: Canonical (u, v) of the points of the face; left is the viewer's.
FACE_POINTS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "forehead": (0.0, -0.52),
        "between_eyes": (0.0, -0.17),
        "left_cheek": (-0.50, 0.17),
        "right_cheek": (0.50, 0.17),
        "left_jaw": (-0.58, 0.56),
        "right_jaw": (0.58, 0.56),
        "chin": (0.0, 0.84),
    }
)
#: Points of the ears: side (-1 is the viewer's left) and position along the ear (0 at the root, 1 at the tip).
EAR_POINTS: Mapping[str, tuple[int, float]] = MappingProxyType(
    {
        "left_ear_middle": (-1, 0.5),
        "right_ear_middle": (1, 0.5),
        "left_ear_tip": (-1, 0.86),
        "right_ear_tip": (1, 0.86),
    }
)
#: All names, in the order of :func:`extra_landmarks`.
EXTRA_LANDMARKS = (*FACE_POINTS, *EAR_POINTS)
_ITERATIONS, _STEP, _LONGEST = 30, 1e-4, 0.15


def extra_landmarks(
    species: str | Species, split: Split, index: int, *, size: int = 64, framing: Framing | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the positions of :data:`EXTRA_LANDMARKS` in a sample, and whether they are visible.

    Args:
        species: name of a shipped species, or a :class:`Species` of your own.
        split: ``train``, ``val`` or ``test``.
        index: any number from 0.
        size: side in pixels.
        framing: as in :func:`~dife_lightning.world.render`.

    Returns:
        (K, 2) float32 pixels, x then y, and (K,) bool. Points of the face are visible by the same rules as landmarks;
        points of an ear are visible if the ear is not under hair.

    Raises:
        ConfigError: unknown species or split, negative index, or a size under 8.
    """
    check_size(size)
    factors = draw_factors(species, split, index)
    face = plane_of(factors.spline, factors.one, np.array(list(FACE_POINTS.values())))
    plane = np.concatenate((face, _on_ears(factors.one)))
    points, visible = look_at(factors, plane, size, framing or Framing())
    ear, hair = factors.relief.on_top(plane)
    on_ear = np.arange(len(plane)) >= len(face)
    return points, visible & ~hair & (ear == on_ear)


def _on_ears(one: Individual) -> Array:
    (p, q), lean = ear_axis(one)
    length = one.traits.ears.length
    along, up = math.sin(lean) * length, -math.cos(lean) * length
    return np.array([(side * (p + t * along), q + t * up) for side, t in EAR_POINTS.values()])


def plane_of(spline: ThinPlateSpline, one: Individual, uv: Array) -> Array:
    """Invert ``spline``: return the points (n, 2) on the face plane at canonical ``uv`` (n, 2), by Newton's method."""
    rim = outline_points(one.traits.head, one.bottom, np.linspace(0, 2 * np.pi, 24, endpoint=False))
    start = (np.linspace(0, 1, 13)[:, None, None] * rim).reshape(-1, 2)
    gaps = ((spline(start)[None] - uv[:, None]) ** 2).sum(-1)
    plane = start[gaps.argmin(axis=1)]
    for _ in range(_ITERATIONS):
        value = spline(plane)
        right, down = (spline(plane + step) - value for step in (np.array((_STEP, 0.0)), np.array((0.0, _STEP))))
        slope = np.stack((right, down), -1) / _STEP
        move = np.linalg.solve(slope, (uv - value)[..., None])[..., 0]
        plane = plane + move * np.minimum(1.0, _LONGEST / np.maximum(np.linalg.norm(move, axis=1), 1e-12))[:, None]
    return plane
