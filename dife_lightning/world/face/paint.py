"""Paints skin, fur, markings, hair and ears."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.anatomy import Individual
from dife_lightning.world.face.noise import TILE, Floats, blend, lookup, noise_pool, smoothstep
from dife_lightning.world.face.relief import Relief, to_cells


@dataclass(frozen=True)
class Surface:
    """The n visible points of a head, all (n,) float32.

    ``p``, ``q``: position on the face plane; ``streak``, ``rough``, ``smooth``: noise; the others are
    ``Relief.layers``.
    """

    p: Floats
    q: Floats
    streak: Floats
    rough: Floats
    smooth: Floats
    slope_p: Floats
    slope_q: Floats
    openness: Floats
    radius: Floats
    ear: Floats
    along: Floats
    across: Floats
    hair: Floats


def read_surface(relief: Relief, one: Individual, p: Floats, q: Floats) -> Surface:
    """Sample noise and ``relief`` at the points (``p``, ``q``) of the face plane."""
    layers = lookup(relief.layers, to_cells(p), to_cells(q)).T
    shift, pool = one.offsets.astype(np.float32), noise_pool()
    # Hairs point away from the nose: streaks along the radius in polar coordinates.
    below = q - np.float32(one.landmarks[4, 1] - 0.1)
    angle = np.arctan2(p, -below) * np.float32(TILE / (2 * math.pi))
    streak = lookup(
        pool["streak"][int(one.chance[0] * 6)], angle + shift[1, 0], 14 * np.hypot(p, below) + shift[1, 1], wrap=True
    )
    rough = lookup(pool["rough"][int(one.chance[3] * 6)], 40 * p + shift[2, 0], 40 * q + shift[2, 1], wrap=True)
    smooth = lookup(pool["smooth"][int(one.chance[4] * 6)], 30 * p + shift[3, 0], 30 * q + shift[3, 1], wrap=True)
    return Surface(p, q, streak, rough, smooth, *np.ascontiguousarray(layers))


def bare_within(s: Surface, center: tuple[float, float], half: tuple[float, float]) -> NDArray[np.intp]:
    """Return the indices of the points without ear or hair in a box of half sides ``half`` around ``center``."""
    near = (np.abs(s.p - np.float32(center[0])) < half[0]) & (np.abs(s.q - np.float32(center[1])) < half[1])
    return np.flatnonzero(near & (s.ear < 0) & (s.hair < 0))


def paint_head(s: Surface, one: Individual) -> Floats:
    """Return the colours (n, 3) of the head, without eyes, nose and mouth."""
    coat = one.traits.coat
    color = np.empty((s.p.size, 3), np.float32)
    color[:] = coat.palette[0]
    if coat.fur > 0:
        _paint_fur(color, s, one)
    else:
        _paint_skin(color, s, one)
    _paint_ears(color, s, one)
    _paint_hair(color, s, one)
    return color


def _paint_skin(color: Floats, s: Surface, one: Individual) -> None:
    coat, marks, chance = one.traits.coat, one.landmarks, one.chance
    for side in (-1, 1):
        cheek = np.exp(-(((s.p - side * 0.42) / 0.2) ** 2) - ((s.q - 0.36) / 0.17) ** 2)
        blend(color, coat.palette[1], np.float32(0.25 + 0.5 * chance[5]) * cheek)
    tip = np.exp(-((s.p / 0.13) ** 2) - ((s.q - np.float32(marks[4, 1])) / 0.1) ** 2)
    blend(color, coat.palette[1], 0.45 * tip)
    forehead = np.exp(-((s.p / 0.35) ** 2) - ((s.q + 0.5) / 0.2) ** 2)
    blend(color, coat.palette[2], 0.4 * forehead)
    color *= (1 + 0.02 * s.rough + 0.03 * s.smooth)[:, None]
    if one.traits.hair.beard > 0.3:
        blend(color, one.traits.hair.color, _beard(s, one))


def _beard(s: Surface, one: Individual) -> Floats:
    marks = one.landmarks
    width = float(marks[6, 0])
    lip = smoothstep(0.05, 0.1, s.q - np.float32(marks[4, 1])) * smoothstep(1.25, 0.95, np.abs(s.p) / width)
    jaw = smoothstep(0.0, 0.15, s.q - np.float32(marks[7, 1]) + 0.25 * np.maximum(np.abs(s.p) / width - 1, 0) - 0.05)
    grown = np.maximum(lip * (s.q < marks[7, 1] + 0.05), jaw)
    strength = 0.25 + 0.65 * (one.traits.hair.beard - 0.3) / 0.7
    return np.asarray(np.clip(grown * strength * (0.95 + 0.15 * s.streak), 0, 1), np.float32)


def _paint_fur(color: Floats, s: Surface, one: Individual) -> None:
    coat = one.traits.coat
    wobble = 0.10 * s.smooth + 0.05 * s.streak
    blend(color, coat.palette[1], 0.35 * smoothstep(-0.2, 1.6, s.smooth))
    _PATTERNS[coat.pattern](color, s, one, wobble)
    _paint_markings(color, s, one, wobble)
    _paint_eye_surround(color, s, one)
    color *= (1 + coat.fur * (0.17 * s.streak + 0.04 * s.rough))[:, None]


def _no_pattern(color: Floats, s: Surface, one: Individual, wobble: Floats) -> None:
    """Leave the coat as it is."""


def _patches(color: Floats, s: Surface, one: Individual, wobble: Floats) -> None:
    alpha = smoothstep(0.35, 0.6, s.smooth + 0.25 * s.streak * one.traits.coat.fur)
    blend(color, one.traits.coat.palette[1], alpha)
    if one.chance[6] < 0.5:
        side = -1 if one.chance[6] < 0.25 else 1
        eye = ((s.p - side * one.traits.eyes.distance) / 0.32) ** 2 + ((s.q - one.traits.eyes.height) / 0.36) ** 2
        blend(color, one.traits.coat.palette[1], smoothstep(1.1, 0.85, eye + wobble))


def _stripes(color: Floats, s: Surface, one: Individual, wobble: Floats) -> None:
    """Paint bands on the cheeks and arcs on the forehead."""
    below = s.q - 0.15
    ring = np.hypot(s.p, 0.9 * below)
    sides = np.sin((25 + 5 * one.chance[6]) * ring + 2.0 * s.smooth + 0.3 * s.streak)
    reach = smoothstep(0.45, 0.7, ring) * smoothstep(0.10, 0.22, np.abs(s.p) + 0.06 * s.smooth)
    middle = np.sin(26 * s.q + 1.5 * s.smooth) * smoothstep(0.16, 0.08, np.abs(s.p)) * smoothstep(-0.35, -0.5, s.q)
    blend(color, one.traits.coat.palette[1], 0.95 * smoothstep(0.25, 0.6, np.maximum(sides * reach, middle)))


def _tabby(color: Floats, s: Surface, one: Individual, wobble: Floats) -> None:
    """Paint lines on the forehead and bands on the cheeks."""
    brow = smoothstep(-0.16, -0.34, s.q)
    lines = np.sin((24 + 5 * one.chance[6]) * s.p * (1.1 + 0.5 * s.q) + 1.57 + 0.7 * s.smooth)
    cheek = smoothstep(0.50, 0.68, np.abs(s.p)) * smoothstep(-0.15, 0.0, s.q)
    bands = np.sin(22 * (s.q - 0.3 * np.abs(s.p)) + 0.8 * s.smooth)
    alpha = smoothstep(0.1, 0.55, np.maximum(lines * brow, bands * cheek) + 0.15 * s.streak)
    blend(color, one.traits.coat.palette[1], 0.85 * alpha)


def _rosettes(color: Floats, s: Surface, one: Individual, wobble: Floats) -> None:
    shift = one.offsets.astype(np.float32)
    cells = lookup(
        noise_pool()["cells"][int(one.chance[6] * 6)], 100 * s.p + shift[4, 0], 100 * s.q + shift[4, 1], wrap=True
    )
    away = smoothstep(0.42, 0.62, np.hypot(s.p, 0.9 * (s.q - 0.35)))
    blend(color, one.traits.coat.palette[1], 0.95 * smoothstep(0.50, 0.38, cells + 0.04 * s.streak) * away)


_PATTERNS = {"plain": _no_pattern, "patches": _patches, "stripes": _stripes, "tabby": _tabby, "rosettes": _rosettes}


def _paint_markings(color: Floats, s: Surface, one: Individual, wobble: Floats) -> None:
    traits, marks = one.traits, one.landmarks
    coat, muzzle, side = traits.coat, traits.muzzle, np.abs(s.p)
    _, second, light = coat.palette
    snout = (s.p / (1.05 * muzzle.width)) ** 2 + ((s.q - muzzle.center - 0.1) / (1.1 * muzzle.height)) ** 2
    if coat.mask > 0.3:
        around = (s.p / (traits.eyes.distance + 0.22)) ** 2 + ((s.q - 0.25) / 0.62) ** 2
        blend(color, second, 0.9 * smoothstep(1.1, 0.75, around + 1.2 * wobble))
    if coat.cheek_patch > 0.3:
        low = s.q - traits.eyes.height - 0.30 + 0.35 * np.maximum(side - 0.3, 0)
        blend(color, light, 0.95 * smoothstep(0.0, 0.14, low + wobble) * smoothstep(0.26, 0.4, side + wobble))
    if coat.muzzle_patch > 0.3:
        blend(color, light, 0.95 * smoothstep(1.15, 0.85, snout + 1.2 * wobble))
    if coat.blaze > 0.3:
        width = 0.06 + 0.14 * coat.blaze * smoothstep(1.0, -0.2, s.q + 0.9)
        blend(color, light, smoothstep(0.03, -0.03, side - width + 0.4 * wobble) * smoothstep(0.5, 0.3, s.q))
    if coat.tear_lines > 0.3:
        path = marks[2, 0] + (marks[6, 0] - marks[2, 0]) * (s.q - marks[2, 1]) / (marks[6, 1] - marks[2, 1])
        inside = smoothstep(0.0, 0.06, s.q - np.float32(marks[2, 1])) * smoothstep(
            0.02, -0.04, s.q - np.float32(marks[6, 1])
        )
        blend(color, second, 0.85 * smoothstep(0.045, 0.01, np.abs(side - path).astype(np.float32)) * inside)


def _paint_eye_surround(color: Floats, s: Surface, one: Individual) -> None:
    """Paint light fur around the eyes of dark coats, so that small images show the eyes."""
    eyes, palette = one.traits.eyes, one.traits.coat.palette
    ring = ((np.abs(s.p) - eyes.distance) / (1.5 * eyes.width)) ** 2 + ((s.q - eyes.height) / (2.1 * eyes.opening)) ** 2
    near = np.flatnonzero(ring < 1.5)
    if near.size:
        dark = 1 - np.clip(color[near].mean(1) / 0.55, 0, 1)
        patch = color[near]
        blend(patch, palette[2], (0.2 + 0.65 * dark) * smoothstep(1.35, 0.7, ring[near]))
        color[near] = patch


def _paint_ears(color: Floats, s: Surface, one: Individual) -> None:
    on = np.flatnonzero(s.ear > -0.03)
    if not on.size:
        return
    ears, coat = one.traits.ears, one.traits.coat
    part, grain = color[on], s.streak[on]
    part[:] = coat.palette[0]
    if coat.dark_ears > 0.3:
        blend(part, coat.palette[1], np.full(on.size, 0.9, np.float32))
    across, along = s.across[on], s.along[on]
    if ears.shape == "floppy":
        blend(part, coat.palette[1], (0.35 + 0.4 * one.chance[11]) * smoothstep(-0.2, 0.9, along))
    else:
        inner = (
            smoothstep(0.80, 0.58, across) if ears.shape != "pointed" else smoothstep(0.78, 0.58, across - 0.1 * along)
        )
        blend(part, ears.inner_color, 0.9 * inner * smoothstep(0.95, 0.75, along))
    part *= (1 + coat.fur * 0.15 * grain)[:, None]
    patch = color[on]
    blend(patch, part, smoothstep(-0.03, 0.03, s.ear[on]))
    color[on] = patch


def _paint_hair(color: Floats, s: Surface, one: Individual) -> None:
    hair = one.traits.hair
    on = np.flatnonzero(s.hair > -0.05)
    if hair.style == "none" or not on.size:
        return
    grain = s.rough[on] if hair.style == "curly" else s.streak[on] if hair.style == "mane" else _strands(s, one, on)
    part = np.empty((on.size, 3), np.float32)
    part[:] = hair.color
    part *= (1.0 + (0.28 if hair.style in ("curly", "mane") else 0.2) * grain + 0.1 * s.smooth[on])[:, None]
    strong = 0.75 if hair.style == "buzz" else 1.0
    patch = color[on]
    blend(patch, part, strong * smoothstep(-0.05, 0.03, s.hair[on]))
    color[on] = patch


def _strands(s: Surface, one: Individual, on: NDArray[np.intp]) -> Floats:
    """Return the noise of hair combed from the parting."""
    p, q = s.p[on] - np.float32(0.7 * (one.chance[2] - 0.5)), s.q[on] + np.float32(1.15 * one.traits.head.top)
    angle = np.arctan2(p, q) * np.float32(1.5 * TILE / (2 * math.pi)) + np.float32(one.offsets[5, 0])
    return lookup(noise_pool()["streak"][int(one.chance[3] * 6)], angle, 10 * np.hypot(p, q), wrap=True)
