"""Paints the mouth, as open as the landmarks say: lips and teeth of humans, line and chin of animals, a tongue."""

from __future__ import annotations

import numpy as np

from dife_lightning.world.face.anatomy import Individual
from dife_lightning.world.face.noise import Floats, blend, smoothstep
from dife_lightning.world.face.paint import Surface, bare_within
from dife_lightning.world.face.traits import Color

_TONGUE: Color = (0.86, 0.38, 0.40)
_TEETH: Color = (0.96, 0.94, 0.88)


def paint_mouth(color: Floats, gloss: Floats, s: Surface, one: Individual, blur: float) -> None:
    """Paint the mouth into ``color`` (n, 3) and ``gloss`` (n,) in place, with edges of width ``blur``."""
    mouth, marks = one.traits.mouth, one.landmarks
    left, right, upper, lower = marks[5], marks[6], marks[7], marks[8]
    center, half = (left[0] + right[0]) / 2, (right[0] - left[0]) / 2
    top, low = min(upper[1], left[1]) - 0.12, lower[1] + 0.12
    at = bare_within(s, (center, (top + low) / 2), (1.25 * half, (low - top) / 2))
    if not at.size:
        return
    x, q = (s.p[at] - np.float32(center)) / np.float32(half), s.q[at]
    side = np.minimum(np.abs(x), 1)
    lobes = mouth.lobes * np.sin(np.pi * side)
    line_up = upper[1] + (left[1] - upper[1]) * side**1.6 + lobes
    line_low = lower[1] + (left[1] - lower[1]) * side**2.2
    # Beyond the corners the distance to the corner rounds the ends.
    past = np.maximum(np.abs(x) - 1, 0) * half
    inside = (np.minimum(q - line_up, line_low - q) - past).astype(np.float32)
    part, shine = color[at], np.zeros(at.size, np.float32)
    if mouth.lips > 0:
        _human_mouth(part, shine, one, q, line_up, line_low, inside, blur)
    else:
        _animal_mouth(part, shine, one, x, q, line_up, line_low, inside, blur)
    color[at] = part
    gloss[at] = np.maximum(gloss[at], shine)


def _human_mouth(
    part: Floats, shine: Floats, one: Individual, q: Floats, up: Floats, low: Floats, inside: Floats, blur: float
) -> None:
    mouth = one.traits.mouth
    lip = smoothstep(-blur, blur, inside)
    blend(part, mouth.lip_color, mouth.lips * lip)
    shine += 0.3 * lip
    gap = low - up
    thick = 0.42 * mouth.gap * np.minimum(gap / mouth.gap, 1)
    hollow = np.minimum(q - up, low - q) - thick
    line = np.abs(q - 0.5 * (up + low))
    blend(
        part,
        tuple(0.3 * c for c in mouth.lip_color),
        0.85 * smoothstep(0.028 + blur, 0.028 - blur, line) * smoothstep(-0.05, 0, inside),
    )
    if one.mouth_open > 0.03:
        _fill_mouth(part, hollow, q - up - thick, low - thick - q, blur, teeth=0.07)


def _animal_mouth(
    part: Floats,
    shine: Floats,
    one: Individual,
    x: Floats,
    q: Floats,
    up: Floats,
    low: Floats,
    inside: Floats,
    blur: float,
) -> None:
    mouth, nose = one.traits.mouth, one.landmarks[4]
    chin = smoothstep(0.1, 0.0, q - low) * smoothstep(0.75, 0.5, np.abs(x)) * smoothstep(0, 0.02, q - low)
    blend(part, one.traits.coat.palette[2], 0.4 * chin)
    blend(part, mouth.lip_color, 0.95 * smoothstep(-0.03 - blur, -0.03 + blur, inside))
    furrow = smoothstep(0.02 + blur, 0.02 - blur, np.abs(x) * mouth.width) * (q > nose[1]) * (q < up)
    blend(part, mouth.lip_color, 0.85 * furrow.astype(np.float32))
    if one.mouth_open > 0.03:
        _fill_mouth(part, inside, q - up, low - q, blur, teeth=0.0)
        tongue = np.hypot(x / 0.62, np.maximum(low - 0.02 - q, 0) / np.maximum(0.72 * (low - up), 0.02))
        wet = smoothstep(1.1, 0.85, tongue) * smoothstep(0, 2 * blur, inside)
        shine += 0.5 * wet


def _fill_mouth(part: Floats, hollow: Floats, below_top: Floats, above_low: Floats, blur: float, teeth: float) -> None:
    """Paint the inside: dark, with a tongue below and, if ``teeth`` is positive, a strip of teeth above."""
    opened = smoothstep(-blur, blur, hollow)
    blend(part, (0.22, 0.05, 0.06), opened)
    blend(
        part,
        _TONGUE,
        opened
        * smoothstep(0.35, 0.65, below_top / np.maximum(below_top + above_low, 0.02))
        * smoothstep(0.0, 0.08, below_top + above_low - 0.1),
    )
    if teeth > 0:
        blend(part, _TEETH, opened * smoothstep(teeth + blur, teeth - blur, below_top))
