"""Surroundings of a head: light, background and, in some images, an occluder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.noise import Floats, blend, noise_pool, smoothstep
from dife_lightning.world.face.traits import Coat, Color, Scene

OCCLUDED_SHARE = 0.11  #: share of images with a leaf, hand or blob in front of the head
_OCCLUDERS = ("leaf", "hand", "blob")


@dataclass(frozen=True)
class Surroundings:
    """Light, background and occluder of an image, in coordinates of the plain image (-0.5 to 0.5).

    ``light`` (3,) is the unit vector towards the light (z to the viewer), ``tint`` (3,) its colour; ``shapes`` (n, 7)
    are x, y, radius, height ratio, angle, colour mix and strength.
    """

    light: NDArray[np.float64]
    tint: NDArray[np.float64]
    ambient: float
    exposure: float
    palette: tuple[Color, Color, Color]
    clutter: str
    shapes: NDArray[np.float64]
    tiles: NDArray[np.float64]
    occluder: str | None
    occluder_place: NDArray[np.float64]
    occluder_color: Color
    body: tuple[float, float]
    body_color: Color


def draw_surroundings(scene: Scene, coat: Coat, rng: np.random.Generator) -> Surroundings:
    """Draw light, background and occluder, always with the same number of draws from ``rng``."""
    azimuth, elevation = rng.uniform(0, 2 * math.pi), rng.uniform(0.45, 1.25)
    flat = math.cos(elevation)
    light = np.array([flat * math.cos(azimuth), -abs(flat * math.sin(azimuth)) * 0.9 + 0.1, math.sin(elevation)])
    warmth = rng.uniform(-1, 1)
    shapes = rng.uniform(0, 1, (7, 7))
    shapes[:, :2] = shapes[:, :2] * 1.6 - 0.8
    chances, tiles, place = rng.random(6), rng.uniform(0, 256, (4, 3)), rng.uniform(-1, 1, 5)
    greens: tuple[Color, ...] = ((0.25, 0.45, 0.15), (0.45, 0.5, 0.12), (0.5, 0.3, 0.12))
    skins: tuple[Color, ...] = ((0.9, 0.7, 0.58), (0.62, 0.4, 0.28), (0.35, 0.22, 0.15))
    blobs: tuple[Color, ...] = ((0.75, 0.2, 0.22), (0.2, 0.35, 0.7), (0.9, 0.8, 0.3))
    kind = _OCCLUDERS[int(chances[1] * 3)]
    cloth: Color = tuple(0.12 + 0.75 * c for c in rng.random(3))
    colors = {"leaf": greens, "hand": skins, "blob": blobs}[kind]
    return Surroundings(
        light=light / np.linalg.norm(light),
        tint=np.array([1 + 0.09 * warmth, 1.0, 1 - 0.11 * warmth]),
        ambient=0.5 + 0.2 * chances[2],
        exposure=0.92 + 0.2 * chances[3],
        palette=scene.palette,
        clutter=scene.clutter,
        shapes=shapes,
        tiles=tiles,
        occluder=kind if chances[0] < OCCLUDED_SHARE else None,
        occluder_place=place,
        occluder_color=colors[int(chances[4] * 3)],
        body=(0.42 if coat.fur == 0 else 0.62, 1.15 + 0.15 * chances[5]),
        body_color=coat.palette[0] if coat.fur > 0 else cloth,
    )


def paint_background(around: Surroundings, x: Floats, y: Floats, placement: tuple[float, float, float]) -> Floats:
    """Return the background (h, w, 3), with a body below the head at ``placement``.

    ``x`` and ``y`` (h, w) are coordinates of the plain image and may lie outside it.
    """
    shape = x.shape
    scale = {"indoor": (60, 0.4), "foliage": (130, 1.0), "open": (70, 0.7)}[around.clutter]
    coarse = _tile("smooth", around.tiles[0], scale[0] * x, scale[0] * y)
    fine = _tile("rough", around.tiles[1], 70 * x, 70 * y)
    first, second, third = (np.array(c, np.float32) for c in around.palette)
    color = np.empty((x.size, 3), np.float32)
    color[:] = first
    slope = smoothstep(-0.5, 0.5, (y + 0.3 * x * (around.shapes[0, 0])).ravel())
    if around.clutter == "open":
        slope = smoothstep(-0.04, 0.04, (y - 0.15 + 0.03 * coarse).ravel())
    blend(color, second, 0.7 * slope)
    blend(color, third, 0.7 * scale[1] * smoothstep(0.2, 1.6, coarse.ravel()))
    blend(color, 0.45 * second, 0.7 * scale[1] * smoothstep(0.3, 1.8, -coarse.ravel()))
    _paint_shapes(color, around, x.ravel(), y.ravel())
    _paint_body(color, around, x.ravel(), y.ravel(), placement)
    color *= (1 + (0.03 + 0.05 * scale[1]) * fine.ravel())[:, None]
    color *= (around.exposure * (0.72 + 0.25 * around.ambient) * around.tint).astype(np.float32)
    return color.reshape(*shape, 3)


def _tile(kind: str, place: NDArray[np.float64], x: Floats, y: Floats) -> Floats:
    tile = noise_pool()[kind][int(place[2]) % 6]
    u, v = np.mod(x + np.float32(place[0]), 256), np.mod(y + np.float32(place[1]), 256)
    at = u.astype(np.float32), v.astype(np.float32)
    return np.asarray(cv2.remap(tile, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def _paint_shapes(color: Floats, around: Surroundings, x: Floats, y: Floats) -> None:
    """Paint shapes out of focus: panels and frames indoors, leaves outdoors."""
    boxy = around.clutter == "indoor"
    for cx, cy, size, ratio, turn, mix, strength in around.shapes[: 4 if around.clutter == "open" else 7]:
        angle = (0.15 if boxy else math.pi) * (turn - 0.5)
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        u = dx * np.float32(math.cos(angle)) + dy * np.float32(math.sin(angle))
        v = dy * np.float32(math.cos(angle)) - dx * np.float32(math.sin(angle))
        half_u, half_v = 0.06 + 0.22 * size, (0.06 + 0.22 * size) * (0.3 + 1.4 * ratio)
        au, av = np.abs(u) / half_u, np.abs(v) / half_v
        edge = np.maximum(au, av) if boxy else np.sqrt(au * au + av * av)
        soft = 0.08 + 0.3 * turn
        first, second = around.palette[int(mix * 3)], around.palette[int(strength * 3)]
        tone = tuple(np.float32((0.6 + 0.7 * mix) * (0.7 * a + 0.3 * b)) for a, b in zip(first, second, strict=True))
        blend(color, np.clip(tone, 0, 1), (0.35 + 0.5 * strength) * smoothstep(1 + soft, 1 - soft, edge))


def _paint_body(
    color: Floats, around: Surroundings, x: Floats, y: Floats, placement: tuple[float, float, float]
) -> None:
    unit, head_x, head_y = placement
    p, q = (x - np.float32(head_x)) / unit, (y - np.float32(head_y)) / unit
    side = np.abs(p)
    shoulders = q - around.body[1] - 0.35 * np.maximum(side - 0.35, 0) ** 2
    neck = np.maximum(side - around.body[0], 0.2 - q)
    inside = smoothstep(0.05, -0.05, np.minimum(-shoulders, neck))
    shade = 0.8 - 0.25 * np.clip(side - 0.2, 0, 1) - 0.25 * smoothstep(0.45, -0.1, shoulders)
    tone = np.asarray(around.body_color, np.float32) * shade[:, None]
    blend(color, tone, inside)


def occluder_distance(
    around: Surroundings, x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.floating] | None:
    """Return the signed distance to the occluder (negative inside) at plain-image coordinates; None without one."""
    if around.occluder is None:
        return None
    place = around.occluder_place
    side = 1.0 if place[0] > 0 else -1.0
    # It enters from the left or right and covers the cheek, at most to the middle of the face.
    cx, cy, angle = side * (0.20 + 0.10 * abs(place[1])), 0.28 * place[2], 0.7 * place[3]
    dx, dy = (x - cx) * side, y - cy
    u, v = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    if around.occluder == "leaf":
        return np.abs(v) - 0.10 * np.clip(1 - (u / 0.26) ** 2, -1, 1)
    if around.occluder == "blob":
        return np.hypot(u / 1.2, v) - (0.10 + 0.02 * np.sin(4 * np.arctan2(v, u) + 3 * place[4]))
    palm = np.hypot((u - 0.16) / 1.1, v) - 0.11
    fingers = [
        _capsule(u, v, 0.10, y0, -0.12 + 0.05 * abs(i - 1.4), 1.5 * y0) - 0.022
        for i, y0 in enumerate((-0.075, -0.026, 0.026, 0.075))
    ]
    return np.minimum.reduce([palm, *fingers])


def _capsule(
    u: NDArray[np.floating], v: NDArray[np.floating], u0: float, v0: float, u1: float, v1: float
) -> NDArray[np.floating]:
    du, dv = u1 - u0, v1 - v0
    t = np.clip(((u - u0) * du + (v - v0) * dv) / (du * du + dv * dv), 0, 1)
    return np.hypot(u - u0 - t * du, v - v0 - t * dv)


def paint_occluder(picture: Floats, around: Surroundings, x: Floats, y: Floats) -> None:
    """Paint the occluder, if any, over ``picture`` (h, w, 3) in place."""
    distance = occluder_distance(around, x, y)
    if distance is None:
        return
    near = np.flatnonzero(distance.ravel() < 0.02)
    d = distance.ravel()[near].astype(np.float32)
    grain = _tile("rough", around.tiles[2], 120 * x, 60 * y).ravel()[near]
    body = (
        np.asarray(around.occluder_color, np.float32) * (1 + 0.08 * grain - 0.35 * smoothstep(-0.03, 0.0, d))[:, None]
    )
    flat = picture.reshape(-1, 3)
    part = flat[near]
    blend(part, body, smoothstep(0.003, -0.003, d))
    flat[near] = part
