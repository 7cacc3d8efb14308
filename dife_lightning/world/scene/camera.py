"""Orthographic camera: projection of points, and intersection of pixel rays with the head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.noise import Floats
from dife_lightning.world.face.relief import BELOW, CELLS, EXTENT, Relief

Array = NDArray[np.float64]

_STEPS = 24
_REFINEMENTS = 3


@dataclass(frozen=True)
class Camera:
    """Orthographic camera; ``to_pixels`` (2, 3) maps rotated (X, Y) to pixels."""

    rotation: Array
    to_pixels: Array
    pivot: float

    def project(self, points: Array) -> tuple[Array, Array]:
        """Project points (n, 3) (p, q, height) to pixels (n, 2) and depth (n,); larger is nearer."""
        rotated = (points - (0, 0, self.pivot)) @ self.rotation.T
        return rotated[:, :2] @ self.to_pixels[:, :2].T + self.to_pixels[:, 2], rotated[:, 2]

    def rays(self) -> tuple[Array, Array]:
        """Return the map (2, 3) from pixels to (p, q) at height 0, and the change (2,) of (p, q) per height."""
        r = self.rotation
        plane = np.array([[r[j, i] - r[2, i] * r[j, 2] / r[2, 2] for j in (0, 1)] for i in (0, 1)])
        drift = r[2, :2] / r[2, 2]
        inverse = np.linalg.inv(self.to_pixels[:, :2])
        linear = plane @ inverse
        offset = -linear @ self.to_pixels[:, 2] - drift * self.pivot
        return np.concatenate((linear, offset[:, None]), 1), drift


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Array:
    """Return the rotation (3, 3) for degrees of yaw (nose to +x), pitch (nose to +y, down) and roll (clockwise)."""
    a, b, c = (math.radians(v) for v in (yaw, pitch, roll))
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    nod = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
    tip = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return np.asarray(tip @ nod @ turn)


def cast(relief: Relief, camera: Camera, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Intersect the rays of pixels (``x``, ``y``), both (h, w), with the first surface.

    The search takes fixed steps from front to back, then refines by regula falsi.

    Returns:
        (h, w, 2) face-plane coordinates and (h, w) height, NaN where a ray misses the head.
    """
    base, drift = camera.rays()
    p0, q0 = (base[i, 0] * x + base[i, 1] * y + base[i, 2] for i in (0, 1))
    scale = (CELLS - 1) / (2 * EXTENT)
    u0, v0 = ((np.asarray(c, np.float32) + np.float32(EXTENT)) * np.float32(scale) for c in (p0, q0))
    du, dv = (np.float32(d * scale) for d in drift)
    top = float(relief.height.max()) + 1e-3
    levels = np.linspace(top, 0, _STEPS + 1, dtype=np.float32)
    near = np.full(u0.shape, top, np.float32)
    gap_near, gap_far = np.full(u0.shape, -1, np.float32), np.full(u0.shape, -1, np.float32)
    far = np.full(u0.shape, np.nan, np.float32)
    going = np.ones(u0.shape, bool)
    for level in levels[1:]:
        gap = _height(relief, u0 + du * level, v0 + dv * level) - level
        hit = going & (gap >= 0)
        far[hit], gap_far[hit] = level, gap[hit]
        going &= ~hit
        np.copyto(near, level, where=going)
        np.copyto(gap_near, gap, where=going)
    height = np.where(going, 0, far)
    for _ in range(_REFINEMENTS):
        height = near + (far - near) * (gap_near / np.minimum(gap_near - gap_far, -1e-6))
        gap = _height(relief, u0 + du * height, v0 + dv * height) - height
        behind = gap >= 0
        np.copyto(far, height, where=behind)
        np.copyto(gap_far, gap, where=behind)
        np.copyto(near, height, where=~behind)
        np.copyto(gap_near, gap, where=~behind)
    height[going] = np.nan
    plane = np.stack((p0 + drift[0] * height, q0 + drift[1] * height), -1).astype(np.float32)
    return plane, height


def _height(relief: Relief, u: Floats, v: Floats) -> Floats:
    border = cv2.BORDER_CONSTANT
    height = cv2.remap(relief.height, u, v, cv2.INTER_LINEAR, borderMode=border, borderValue=(BELOW,))
    return np.asarray(height, np.float32)
