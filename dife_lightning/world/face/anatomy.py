"""An individual of a species: traits, pose, expression, and landmarks on the face plane.

The face plane (p, q) is the front view of the head: p to the right, q down, the centre of the head at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.species import Species
from dife_lightning.world.face.traits import Head, Traits

Array = NDArray[np.float64]

OUTLINE_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)


@dataclass(frozen=True)
class Individual:
    """A head, without camera, light and scene.

    ``landmarks`` (9, 2) and ``outline`` (16, 2) are on the face plane. ``pose`` is yaw, pitch, roll in degrees
    (positive: to the image right, down, clockwise). ``mouth_open`` and ``lids`` are 0 (closed) to 1. ``chance`` (12,)
    are uniform numbers for details of the painting, ``offsets`` (8, 2) positions in the noise tiles.
    """

    traits: Traits
    pose: tuple[float, float, float]
    mouth_open: float
    lids: float
    brow_raise: float
    gaze: tuple[float, float]
    bottom: float
    landmarks: Array
    outline: Array
    chance: Array
    offsets: Array


def draw_individual(species: Species, rng: np.random.Generator) -> Individual:
    """Draw an individual, always with the same number of draws from ``rng``."""
    traits = species.draw(rng)
    pose = _draw_pose(rng)
    # A third of the mouths are closed, the others uniform up to wide open.
    mouth_open = traits.mouth.openness * min(1.0, max(0.0, 1.6 * rng.random() - 0.55))
    smile, lids, brow_raise = rng.uniform(-0.035, 0.055), 1 - 0.45 * rng.random() ** 3, rng.uniform(-0.5, 1)
    gaze = tuple(rng.uniform(-1, 1, 2) * (0.22, 0.10))
    lean = rng.uniform(-0.02, 0.02)
    landmarks = _landmarks(traits, mouth_open, smile, lean)
    bottom = max(traits.head.bottom + 0.55 * mouth_open * traits.mouth.drop, landmarks[8, 1] + 0.13)
    return Individual(
        traits=traits,
        pose=pose,
        mouth_open=mouth_open,
        lids=lids,
        brow_raise=brow_raise,
        gaze=(float(gaze[0]), float(gaze[1])),
        bottom=bottom,
        landmarks=landmarks,
        outline=outline_points(traits.head, bottom),
        chance=rng.random(12),
        offsets=rng.uniform(0, 256, (8, 2)),
    )


def _draw_pose(rng: np.random.Generator) -> tuple[float, float, float]:
    normal = rng.standard_normal(3)
    yaw, pitch, roll = np.clip(normal * (17, 7.5, 5), (-35, -18, -10), (35, 18, 10))
    return float(yaw), float(pitch), float(roll)


def _landmarks(traits: Traits, mouth_open: float, smile: float, lean: float) -> Array:
    eyes, mouth = traits.eyes, traits.mouth
    tilt = np.deg2rad(eyes.tilt)
    along, rise = eyes.width * np.cos(tilt), eyes.width * np.sin(tilt)
    width = mouth.width * (1 + 1.5 * smile) * (1 - 0.14 * mouth_open)
    corner, upper = mouth.height - smile + 0.25 * mouth_open * mouth.drop, mouth.height + mouth.upper
    return np.array(
        [
            (-eyes.distance - along, eyes.height - rise),
            (-eyes.distance + along, eyes.height + rise),
            (eyes.distance - along, eyes.height + rise),
            (eyes.distance + along, eyes.height - rise),
            (lean, traits.nose.height),
            (-width + lean, corner),
            (width + lean, corner),
            (lean, upper - 0.01 * mouth_open),
            (1.5 * lean, upper + mouth.gap + mouth_open * mouth.drop),
        ]
    )


def half_width(head: Head, bottom: float, q: Array) -> Array:
    """Return the half width of the head at height ``q``, without the elliptic outline."""
    below = np.clip(q / bottom, 0, 1)
    return head.width * (1 - head.taper * below**1.5 + head.cheek * np.exp(-(((q - 0.3) / 0.3) ** 2)))


def outline_points(head: Head, bottom: float, angles: Array = OUTLINE_ANGLES) -> Array:
    """Return the points (n, 2) of the head outline at ``angles`` (radians; 0 is right, positive is down)."""
    sin = np.sin(angles)
    q = np.where(sin > 0, bottom, head.top) * sin
    return np.stack((half_width(head, bottom, q) * np.cos(angles), q), -1)


def outline_radius(head: Head, bottom: float, p: Array, q: Array) -> Array:
    """Return the relative radius (0 at the centre, 1 on the outline) on the grid (m, n) of ``p`` (n,), ``q`` (m,)."""
    down = q / np.where(q > 0, bottom, head.top)
    across = p[None, :] / half_width(head, bottom, q)[:, None]
    return np.sqrt(across**2 + (down**2)[:, None])
