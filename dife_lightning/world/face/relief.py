"""The head as a height field over the face plane; ears, hair and mane are part of it, so they hide what is behind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.anatomy import Individual, half_width, outline_radius
from dife_lightning.world.face.noise import TILE, Floats, lookup, noise_pool, smoothstep

Array = NDArray[np.float64]

EXTENT = 1.8  #: the height field covers the face plane from -EXTENT to EXTENT
CELLS = 168
_LINE = np.linspace(-EXTENT, EXTENT, CELLS)
BELOW = -0.6  #: height where there is no head


@dataclass(frozen=True)
class Relief:
    """Height and surface properties on a CELLS x CELLS grid of the face plane.

    ``layers`` (CELLS, CELLS, 8): slope along p and q, openness (lower in hollows), outline radius, ear (positive where
    an ear is on top), position along and across the ear, hair (positive where hair is on top).
    """

    height: Floats
    layers: Floats
    pivot: float

    def at(self, points: Array) -> Array:
        """Return the height at ``points`` (n, 2) of the face plane."""
        x, y = to_cells(points[:, 0]), to_cells(points[:, 1])
        return lookup(self.height, x, y).astype(np.float64)

    def covered(self, points: Array) -> NDArray[np.bool_]:
        """Return whether an ear or hair covers the face at ``points`` (n, 2) of the face plane."""
        ear, hair = self.on_top(points)
        return ear | hair

    def on_top(self, points: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether an ear, and whether hair, is on top at ``points`` (n, 2) of the face plane."""
        layers = lookup(self.layers, to_cells(points[:, 0]), to_cells(points[:, 1]))
        return np.asarray(layers[:, 4] > 0), np.asarray(layers[:, 7] > 0)


def to_cells(p: NDArray[np.floating]) -> Floats:
    """Convert face-plane coordinates to fractional grid positions."""
    return np.asarray((p + EXTENT) * ((CELLS - 1) / (2 * EXTENT)), np.float32)


def build_relief(one: Individual) -> Relief:
    """Build the height field of a head."""
    head = one.traits.head
    streak = _polar_noise(one)
    radius = outline_radius(head, one.bottom, _LINE, _LINE)
    radius += one.traits.coat.fringe * streak * smoothstep(0.8, 1.0, np.asarray(radius, np.float32))
    skull = _dome(radius, head.depth) + _face(one)
    ear, along, across = _ears(one)
    hair = _hair(one, streak)
    height = np.maximum(np.maximum(skull, ear), hair)
    height = np.maximum(height, BELOW).astype(np.float32)
    slope_p = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125 * (CELLS - 1) / (2 * EXTENT))
    slope_q = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125 * (CELLS - 1) / (2 * EXTENT))
    hollow = cv2.GaussianBlur(height, (0, 0), 5) - height
    others = np.maximum(skull, hair), np.maximum(skull, ear)
    layers = [slope_p, slope_q, 1 - hollow, radius, ear - others[0], along, across, hair - others[1]]
    return Relief(height, np.stack([np.asarray(layer, np.float32) for layer in layers], -1), 0.35 * head.depth)


def _polar_noise(one: Individual) -> Floats:
    p, q = np.meshgrid(_LINE, _LINE)
    angle = np.arctan2(q, p) * (2 * TILE / (2 * math.pi)) + one.offsets[0, 0]
    tile = noise_pool()["streak"][int(one.chance[0] * 6)]
    along = 12 * np.hypot(p, q)
    return lookup(tile, angle.ravel().astype(np.float32), along.ravel().astype(np.float32), wrap=True).reshape(p.shape)


def _dome(radius: Array, depth: float) -> Array:
    inside = 1 - radius**2
    return np.where(inside > 0, depth * (np.sqrt(np.maximum(inside, 0) + 0.01) - 0.1), 1.2 * inside)


def _bump(center: tuple[float, float], size: tuple[float, float]) -> Array:
    across = np.exp(-(((_LINE - center[0]) / size[0]) ** 2))
    return np.exp(-(((_LINE - center[1]) / size[1]) ** 2))[:, None] * across


def _face(one: Individual) -> Array:
    """Return the height of muzzle, nose, brows, eye sockets, lips and chin above the dome."""
    traits, marks = one.traits, one.landmarks
    muzzle, nose, eyes = traits.muzzle, traits.nose, traits.eyes
    radius = ((_LINE - marks[4, 0]) / muzzle.width)[None] ** 2 + ((_LINE - muzzle.center) / muzzle.height)[:, None] ** 2
    face = muzzle.length * np.exp(-1.1 * radius**1.4)
    profile = _nose_profile(one)
    face += nose.bump * profile[:, None] * np.exp(-(((_LINE - marks[4, 0]) / (0.62 * nose.width)) ** 2))
    face += (
        muzzle.length * nose.bridge * profile[:, None] * np.exp(-(((_LINE - marks[4, 0]) / (0.5 * muzzle.width)) ** 2))
    )
    for side in (-1, 1):
        face += traits.head.brow * _bump(
            (side * eyes.distance, eyes.height - eyes.opening - 0.1), (1.2 * eyes.width, 0.09)
        )
        face -= traits.head.socket * _bump((side * eyes.distance, eyes.height), (1.1 * eyes.width, 1.3 * eyes.opening))
    face += 0.05 * _bump((0, marks[8, 1] + 0.14), (0.2, 0.09))
    if traits.mouth.lips > 0:
        middle = 0.5 * (marks[7, 1] + marks[8, 1])
        face += 0.04 * _bump((0, middle), (0.8 * traits.mouth.width, 0.6 * (marks[8, 1] - marks[7, 1])))
    return face


def _nose_profile(one: Individual) -> Array:
    """Return the height of the nose ridge along q, 1 at the tip."""
    nose, brow = one.traits.nose, one.traits.eyes.height
    rise = nose.bridge + (1 - nose.bridge) * smoothstep(brow, nose.height, np.asarray(_LINE, np.float32))
    above = np.exp(-((np.minimum(_LINE - brow, 0) / 0.2) ** 2))
    below = np.exp(-((np.maximum(_LINE - nose.height, 0) / (1.1 * nose.size)) ** 2))
    return np.asarray(rise * above * below, np.float64)


def ear_axis(one: Individual) -> tuple[tuple[float, float], float]:
    """Return the root of the right ear on the face plane, and its direction in radians clockwise from up."""
    ears, head = one.traits.ears, one.traits.head
    angle = math.radians(ears.angle)
    floppy = ears.shape == "floppy"
    lean = math.radians(180 - ears.lean if floppy else ears.lean)
    reach = 1.0 if floppy else 0.86
    # Floppy ears hang beside the eyes, not over them.
    root = reach * head.width * math.sin(angle) + 0.45 * floppy * ears.width, -reach * head.top * math.cos(angle)
    return root, lean


def _ears(one: Individual) -> tuple[Array, Array, Array]:
    """Return the height of the ears, and the position along (0 root, 1 tip) and across them (0 middle, 1 rim)."""
    ears = one.traits.ears
    root, lean = ear_axis(one)
    p, q = np.abs(_LINE)[None] - root[0], _LINE[:, None] - root[1]
    t = (p * math.sin(lean) - q * math.cos(lean)) / ears.length
    s = np.abs(p * math.cos(lean) + q * math.sin(lean)) / ears.width
    if ears.shape == "pointed":
        inside = np.where(t < 0, 1 - s + 2 * t, np.maximum(1 - t, 0) ** 0.8 - s - np.maximum(t - 1, 0) * 4)
    elif ears.shape == "floppy":
        inside = 1 - np.hypot(s / np.maximum(0.75 + 0.3 * t, 0.2), (t - 0.42) / 0.58)
    else:
        inside = 1 - np.hypot(s, (t - 0.35) / 0.68)
    thick = 0.5 * ears.width * np.sqrt(np.clip(inside, 0, 1))
    return np.where(inside > 0, ears.lift + thick, ears.lift + 5 * inside), t, 1 - inside


def _hair(one: Individual, streak: Floats) -> Array:
    """Return the height of hair or mane, and ``BELOW`` elsewhere."""
    hair, head = one.traits.hair, one.traits.head
    if hair.style == "none":
        return np.full((CELLS, CELLS), BELOW)
    volume = hair.volume * {"buzz": 0.25, "curly": 1.3, "long": 1.1}.get(hair.style, 1.0)
    growth = 1 + volume
    sides = {"long": 1.35, "curly": 1.05, "mane": 1.2}.get(hair.style, 0.95)
    q_scale = np.where(_LINE > 0, one.bottom * sides, head.top * growth)
    wide = head.width * growth if hair.style != "mane" else half_width(head, one.bottom, _LINE)[:, None] * growth
    power = 4.0 if hair.style == "long" else 2.2
    radius = (np.abs(_LINE[None] / wide) ** power + np.abs(_LINE / q_scale)[:, None] ** power) ** (1 / power)
    rough = {"curly": 0.05, "mane": 0.06}.get(hair.style, 0.012) * smoothstep(0.75, 1.0, np.asarray(radius, np.float32))
    dome = _dome(radius + rough * streak, head.depth * (1.0 if hair.style == "mane" else 1.06))
    return np.where(_grown(one, streak) > 0, dome, BELOW)


def _grown(one: Individual, streak: Floats) -> Array:
    """Return a map that is positive where hair grows: above the hairline, or around the face for a mane."""
    head, style = one.traits.head, one.traits.hair.style
    if style == "mane":
        return outline_radius(head, one.bottom, _LINE, _LINE) - 0.86 + 0.04 * streak
    start = {"buzz": 0.66, "fringe": 0.36, "curly": 0.56}.get(style, 0.52) * head.top + 0.1 * (one.chance[1] - 0.5)
    reach = {"long": 2.2, "curly": 0.95, "buzz": 0.5}.get(style, 0.6)
    sweep = 0.15 * (one.chance[2] - 0.5) if style in ("short", "long", "fringe") else 0.0
    across = _LINE / head.width
    line = -start + sweep * across + reach * np.abs(across) ** (5.5 if style == "long" else 3.5)
    return (line[None] - _LINE[:, None]) + 0.02 * streak
