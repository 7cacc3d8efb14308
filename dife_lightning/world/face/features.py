"""Paints eyes, nose, brows and glasses at the landmarks (the mouth is in ``mouth.py``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.anatomy import Individual
from dife_lightning.world.face.mouth import paint_mouth
from dife_lightning.world.face.noise import Floats, Reals, blend, smoothstep
from dife_lightning.world.face.paint import Surface, bare_within
from dife_lightning.world.face.traits import Color

_DARK: Color = (0.06, 0.04, 0.04)


def has_glasses(one: Individual) -> bool:
    """Whether the individual wears glasses."""
    return one.traits.hair.glasses > 0.85


def has_dark_glasses(one: Individual) -> bool:
    """Whether the individual wears glasses that hide the eyes."""
    return has_glasses(one) and one.chance[7] < 0.3


def paint_features(color: Floats, s: Surface, one: Individual, blur: float) -> Floats:
    """Paint all features into ``color`` (n, 3) in place, with edges of width ``blur`` in face-plane units.

    Returns:
        Gloss (n,) from 0 (dull) to 1 (wet).
    """
    gloss = np.zeros(s.p.size, np.float32)
    paint_mouth(color, gloss, s, one, blur)
    _NOSES[one.traits.nose.shape](color, gloss, s, one, blur)
    for side in (-1, 1):
        _paint_eye(color, gloss, s, one, blur, side)
        if one.traits.hair.brows > 0.1:
            _paint_brow(color, s, one, blur, side)
    if has_glasses(one):
        _paint_glasses(color, gloss, s, one, blur)
    return gloss


def _paint_eye(color: Floats, gloss: Floats, s: Surface, one: Individual, blur: float, side: int) -> None:
    eyes, first = one.traits.eyes, 0 if side < 0 else 2
    start, end = one.landmarks[first], one.landmarks[first + 1]
    center, axis = (start + end) / 2, (end - start) / np.linalg.norm(end - start)
    at = bare_within(s, (center[0], center[1]), (1.5 * eyes.width, 1.5 * eyes.width))
    if not at.size:
        return
    dp, dq = s.p[at] - np.float32(center[0]), s.q[at] - np.float32(center[1])
    x, y = dp * np.float32(axis[0]) + dq * np.float32(axis[1]), dq * np.float32(axis[0]) - dp * np.float32(axis[1])
    arch = np.maximum(1 - (x / eyes.width) ** 2, 0) ** 0.8
    upper, lower = eyes.opening * one.lids * arch, 0.85 * eyes.opening * (0.5 + 0.5 * one.lids) * arch
    inside = np.minimum(upper + y, lower - y)
    part = color[at]
    blend(
        part,
        _DARK,
        0.95 * smoothstep(-eyes.rim - blur, -eyes.rim + blur, inside - 0.7 * np.maximum(np.abs(x) - eyes.width, 0)),
    )
    eye = _eyeball(one, x, y, upper, blur)
    open_part = smoothstep(-blur, blur, inside) * (np.abs(x) < eyes.width)
    blend(part, eye, open_part)
    color[at] = part
    gloss[at] = np.maximum(gloss[at], 0.5 * open_part)


def _eyeball(one: Individual, x: Floats, y: Floats, upper: Reals, blur: float) -> Floats:
    eyes = one.traits.eyes
    gx, gy = one.gaze[0] * eyes.width, one.gaze[1] * eyes.opening
    distance = np.hypot(x - gx, y - gy)
    ball = np.empty((x.size, 3), np.float32)
    ball[:] = eyes.sclera_color
    blend(ball, tuple(0.3 * c for c in eyes.iris_color), smoothstep(eyes.iris + blur, eyes.iris - blur, distance))
    inner = smoothstep(0.88 * eyes.iris + blur, 0.88 * eyes.iris - blur, distance)
    blend(ball, eyes.iris_color, inner)
    ball *= (1 + 0.25 * inner * np.clip(y / eyes.iris, -1, 1))[:, None]
    radius = eyes.pupil * eyes.iris
    narrow = 1 - 0.75 * eyes.slit
    slit = np.hypot((x - gx) / narrow, (y - gy) * (1 - 0.25 * eyes.slit))
    blend(ball, (0.02, 0.02, 0.02), smoothstep(radius + blur, radius - blur, slit))
    ball *= (1 - 0.4 * smoothstep(0.09, 0.0, upper + y))[:, None]
    spark = np.hypot(x - gx + 0.35 * eyes.iris, y - gy + 0.38 * eyes.iris)
    size = max(0.24 * eyes.iris, 0.024)
    blend(ball, (1.0, 1.0, 1.0), smoothstep(size + blur, size - blur, spark))
    return ball


def _paint_brow(color: Floats, s: Surface, one: Individual, blur: float, side: int) -> None:
    eyes, hair = one.traits.eyes, one.traits.hair
    base = eyes.height - eyes.opening - 0.12 - 0.04 * one.brow_raise
    at = bare_within(s, (side * eyes.distance, base), (1.5 * eyes.width, 0.2))
    x = (s.p[at] * side - eyes.distance) / (1.25 * eyes.width)
    line = base + 0.06 * x**2 + 0.05 * (one.chance[8] - 0.5) * x
    thick = (0.022 + 0.028 * hair.brows) * (1 - 0.35 * np.maximum(x, 0))
    alpha = smoothstep(thick + blur, thick - blur, np.abs(s.q[at] - line)) * smoothstep(1.05, 0.85, np.abs(x))
    part = color[at]
    blend(part, tuple(0.65 * c for c in hair.color), 0.9 * alpha)
    color[at] = part


def _human_nose(color: Floats, gloss: Floats, s: Surface, one: Individual, blur: float) -> None:
    nose, tip = one.traits.nose, one.landmarks[4]
    at = bare_within(s, (tip[0], tip[1]), (1.6 * nose.width, 0.25))
    p, q = s.p[at] - np.float32(tip[0]), s.q[at] - np.float32(tip[1])
    part = color[at]
    side = np.abs(p)
    hole = np.hypot((side - 0.45 * nose.width) / 0.055, (q - 0.8 * nose.size) / 0.03)
    wing = np.hypot((side - 0.85 * nose.width) / 0.035, (q - 0.35 * nose.size) / 0.07)
    under = np.hypot(p / (0.9 * nose.width), (q - 0.95 * nose.size) / 0.03)
    shade = tuple(0.45 * c for c in one.traits.coat.palette[0])
    blend(part, shade, 0.45 * smoothstep(1.3, 0.5, under))
    blend(part, shade, 0.5 * smoothstep(1.3, 0.4, wing))
    blend(part, tuple(0.3 * c for c in shade), smoothstep(1.25, 0.7, hole))
    spark = np.hypot(p / 0.05, (q + 0.02) / 0.06)
    blend(part, one.traits.coat.palette[2], 0.6 * smoothstep(1.2, 0.2, spark))
    color[at] = part
    gloss[at] = np.maximum(gloss[at], 0.2 * smoothstep(1.5, 0.2, spark))


def _pad_nose(color: Floats, gloss: Floats, s: Surface, one: Individual, blur: float) -> None:
    nose, tip = one.traits.nose, one.landmarks[4]
    at = bare_within(s, (tip[0], tip[1]), (1.4 * nose.width, 1.8 * nose.size))
    p, q = s.p[at] - np.float32(tip[0]), s.q[at] - np.float32(tip[1])
    width = nose.width * (1 - 0.30 * np.clip(q / nose.size, -1, 1))
    edge = (np.abs(p / width) ** 2.6 + np.abs(q / nose.size) ** 2.6) ** (1 / 2.6)
    part, soft = color[at], blur / nose.size
    blend(part, nose.color, smoothstep(1 + soft, 1 - soft, edge))
    hole = np.hypot((np.abs(p) - 0.5 * nose.width) / (0.22 * nose.width), (q - 0.15 * nose.size) / (0.30 * nose.size))
    blend(part, (0.0, 0.0, 0.0), 0.9 * smoothstep(1.2, 0.7, hole))
    shine = np.hypot(p / (0.55 * nose.width), (q + 0.55 * nose.size) / (0.22 * nose.size))
    blend(part, (0.75, 0.75, 0.8), 0.6 * smoothstep(1.2, 0.3, shine))
    color[at] = part
    gloss[at] = np.maximum(gloss[at], 0.5 * smoothstep(1, 0.8, edge))


def _triangle_nose(color: Floats, gloss: Floats, s: Surface, one: Individual, blur: float) -> None:
    nose, tip = one.traits.nose, one.landmarks[4]
    at = bare_within(s, (tip[0], tip[1]), (1.5 * nose.width, 1.9 * nose.size))
    p, q = s.p[at] - np.float32(tip[0]), s.q[at] - np.float32(tip[1])
    width = nose.width * np.clip(0.55 - 0.55 * q / nose.size, 0.05, 1)
    edge = np.maximum(np.abs(p) / width, np.abs(q) / nose.size)
    part, soft = color[at], 1.5 * blur / nose.width
    line = 0.035 / nose.width
    blend(part, tuple(0.25 * c for c in nose.color), 0.85 * smoothstep(1 + line + soft, 1 + line - soft, edge))
    blend(part, nose.color, smoothstep(1 + soft, 1 - soft, edge))
    hole = np.hypot((np.abs(p) - 0.48 * nose.width) / (0.2 * nose.width), (q + 0.15 * nose.size) / (0.28 * nose.size))
    blend(part, tuple(0.2 * c for c in nose.color), 0.85 * smoothstep(1.2, 0.6, hole))
    color[at] = part
    gloss[at] = np.maximum(gloss[at], 0.3 * smoothstep(1, 0.8, edge))


_NOSES = {"human": _human_nose, "pad": _pad_nose, "triangle": _triangle_nose}


def _paint_glasses(color: Floats, gloss: Floats, s: Surface, one: Individual, blur: float) -> None:
    eyes = one.traits.eyes
    height = eyes.height + 0.02
    at = bare_within(s, (0, height), (1.2, 0.3))
    p, q = s.p[at], s.q[at] - np.float32(height)
    across, down = (np.abs(p) - eyes.distance) / 0.265, q / 0.20
    power = 2.0 + 3.0 * one.chance[9]
    edge = (np.abs(across) ** power + np.abs(down) ** power) ** (1 / power)
    rim = smoothstep(0.16, 0.06, np.abs(edge - 1))
    bridge = smoothstep(0.035, 0.015, np.abs(q + 0.06)) * (np.abs(p) < eyes.distance - 0.24)
    temple = smoothstep(0.035, 0.015, np.abs(q + 0.05)) * (np.abs(p) > eyes.distance + 0.26)
    part = color[at]
    dark = has_dark_glasses(one)
    lens = smoothstep(1.05, 0.95, edge)
    tint: Color = (0.07, 0.07, 0.09) if dark else (0.85, 0.92, 1.0)
    blend(part, tint, (0.96 if dark else 0.10) * lens)
    glint = lens * smoothstep(0.10, 0.02, np.abs(p + 0.8 * q - np.sign(p) * eyes.distance + 0.03)) * (q < 0.02)
    blend(part, (1.0, 1.0, 1.0), (0.25 if dark else 0.3) * glint)
    frames: tuple[Color, ...] = ((0.05, 0.05, 0.06), (0.35, 0.18, 0.08), (0.62, 0.12, 0.12), (0.15, 0.18, 0.35))
    blend(part, frames[int(one.chance[10] * 4)], np.maximum(rim, np.maximum(bridge, temple)).astype(np.float32))
    color[at] = part
    gloss[at] = 0.2 * rim


def hidden_by_glasses(one: Individual, p: NDArray[np.floating], q: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which points (``p``, ``q``) of the face plane are behind dark lenses (bool, same shape)."""
    if not has_dark_glasses(one):
        return np.zeros(np.shape(p), bool)
    eyes, power = one.traits.eyes, 2.0 + 3.0 * one.chance[9]
    across, down = np.abs(np.abs(p) - eyes.distance) / 0.265, np.abs(q - eyes.height - 0.02) / 0.20
    return np.asarray((across**power + down**power) ** (1 / power) < 1.06)
