"""Renderer of the embedded face world: images of procedural heads with exact geometric truth.

A sample is a pure function of (species, split, index). Splits never share a sample, and neither size nor framing
changes the individual.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError
from dife_lightning.world.face.features import hidden_by_glasses, paint_features
from dife_lightning.world.face.noise import Floats, smoothstep
from dife_lightning.world.face.paint import Surface, paint_head, read_surface
from dife_lightning.world.face.species import Species
from dife_lightning.world.scene.camera import Camera, cast
from dife_lightning.world.scene.factors import SampleFactors, Split, draw_factors
from dife_lightning.world.scene.framing import Framing
from dife_lightning.world.scene.surroundings import Surroundings, occluder_distance, paint_background, paint_occluder

Array = NDArray[np.float64]

#: Part of the key of all caches; increase it when pixels or truth of any sample change.
WORLD_VERSION = 1
SUPERSAMPLING = 2
_HIDDEN_BY = 0.05  # a surface this far in front of a landmark (in face-plane units) hides it


@dataclass(frozen=True)
class WorldSample:
    """An image of the world and its ground truth.

    The first surface on a pixel's ray decides what the pixel shows. Ears do not belong to the face: they are not in the
    mask and have no (u, v). Hair within the outline of the head does: it has the (u, v) of the skin behind it. But
    landmarks under hair are not visible. Frames and clear lenses of glasses are painted on the face.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        points: (9, 2) float32 landmarks of the scheme ``animalweb-9``, x then y, in pixels.
        visible: (9,) bool; False outside the image, behind another part of the head, and under an ear, hair, dark
            lenses or an occluder.
        mask: (size, size) bool: the face at the pixel centres, without parts under ears, dark lenses or an occluder.
        uv: (size, size, 2) float32 canonical surface coordinates in [-1, 1], common to all species; NaN outside the
            mask.
        species: name of the species.
        split: ``train``, ``val`` or ``test``.
        index: 0 or more.
        pose: yaw, pitch, roll of the head in degrees (positive: nose to the image right, nose down, head clockwise),
            without the rotation of the framing.
        mouth_open: 0 (closed) to 1.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    uv: NDArray[np.float32]
    species: str
    split: str
    index: int
    pose: tuple[float, float, float]
    mouth_open: float


def render(
    species: str | Species, split: Split, index: int, *, size: int = 64, framing: Framing | None = None
) -> WorldSample:
    """Render a sample, a pure function of the arguments.

    Args:
        species: name of a shipped species, or a :class:`Species` of your own.
        split: ``train``, ``val`` or ``test``.
        index: any number from 0.
        size: side in pixels.
        framing: rotation, scale and shift of the whole image; None for none.

    Raises:
        ConfigError: unknown species or split, negative index, or a size below 8.
    """
    factors, framing = draw_factors(species, split, index), framing or Framing()
    check_size(size)
    image = _picture(factors, size, framing)
    mask, uv = _surface_truth(factors, size, framing)
    points, visible = _landmarks(factors, size, framing)
    name = species if isinstance(species, str) else species.name
    return WorldSample(image, points, visible, mask, uv, name, split, index, factors.one.pose, factors.one.mouth_open)


def render_image(species: str | Species, split: Split, index: int, *, size: int = 64) -> NDArray[np.uint8]:
    """Return only the image of :func:`render` without framing, which is faster."""
    check_size(size)
    return _picture(draw_factors(species, split, index), size, Framing())


def landmarks_only(
    species: str | Species, split: Split, index: int, *, size: int = 64, framing: Framing | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return only ``points`` and ``visible`` of :func:`render` (ten times as fast)."""
    check_size(size)
    return _landmarks(draw_factors(species, split, index), size, framing or Framing())


def check_size(size: int) -> None:
    """Raise ConfigError if ``size`` is below 8."""
    if size < 8:
        raise ConfigError(f"size is {size}; expected at least 8")


def _landmarks(factors: SampleFactors, size: int, framing: Framing) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    plane = factors.one.landmarks
    points, visible = look_at(factors, plane, size, framing)
    return points, visible & ~factors.relief.covered(plane)


def look_at(
    factors: SampleFactors, plane: Array, size: int, framing: Framing
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Project points of the face plane into the image.

    Args:
        factors: the sample.
        plane: (n, 2) points of the face plane.
        size: side of the image in pixels.
        framing: of the image.

    Returns:
        (n, 2) float32 pixels, and (n,) bool: False outside the image, behind another part of the head, under dark
        lenses or an occluder. Whether an ear or hair is on top is not tested.
    """
    camera = factors.camera(size, framing)
    points, depth = camera.project(np.column_stack((plane, factors.relief.at(plane))))
    pixel = points.astype(np.float32)[None]
    seen, height = cast(factors.relief, camera, pixel[..., 0], pixel[..., 1])
    front = camera.project(np.column_stack((seen[0].astype(np.float64), height[0].astype(np.float64))))[1]
    visible = ~(front - depth > _HIDDEN_BY)  # NaN: the ray misses the head, so nothing is in front
    visible &= ((points >= -0.5) & (points <= size - 0.5)).all(1)
    visible &= ~hidden_by_glasses(factors.one, plane[:, 0], plane[:, 1])
    covered = occluder_distance(factors.surroundings, *_plain(points[:, 0], points[:, 1], size, framing))
    if covered is not None:
        visible &= covered > 0
    return points.astype(np.float32), visible


def _plain(x: Array | Floats, y: Array | Floats, size: int, framing: Framing) -> tuple[Floats, Floats]:
    """Convert pixels of the framed image to coordinates of the plain image, in [-0.5, 0.5]."""
    frame = framing.matrix(size)
    inverse = np.linalg.inv(frame[:, :2])
    dx, dy = x - frame[0, 2], y - frame[1, 2]
    plain = ((inverse[i, 0] * dx + inverse[i, 1] * dy + 0.5) / size - 0.5 for i in (0, 1))
    u, v = (np.asarray(c, np.float32) for c in plain)
    return u, v


def _pixels(size: int) -> tuple[Floats, Floats]:
    line = np.arange(size, dtype=np.float32)
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


def _surface_truth(
    factors: SampleFactors, size: int, framing: Framing
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return mask and canonical coordinates at the pixel centres."""
    x, y = _pixels(size)
    plane, height = cast(factors.relief, factors.camera(size, framing), x, y)
    mask = np.isfinite(height)
    p, q = plane[mask].T
    surface = read_surface(factors.relief, factors.one, p, q)
    face = (surface.radius < 1) & (surface.ear < 0) & ~hidden_by_glasses(factors.one, p, q)
    mask[mask] = face
    covered = occluder_distance(factors.surroundings, *_plain(x, y, size, framing))
    if covered is not None:
        mask &= covered > 0
    uv = np.full((size, size, 2), np.nan, np.float32)
    uv[mask] = np.clip(factors.spline(plane[mask].astype(np.float64)), -1, 1)
    return mask, uv


def _picture(factors: SampleFactors, size: int, framing: Framing) -> NDArray[np.uint8]:
    fine = size * SUPERSAMPLING
    x, y = _pixels(fine)
    camera = factors.camera(fine, framing)
    # The background is out of focus and needs no supersampling.
    behind = paint_background(factors.surroundings, *_plain(*_pixels(size), size, framing), factors.placement)
    picture = np.asarray(cv2.resize(behind, (fine, fine), interpolation=cv2.INTER_LINEAR), np.float32)
    plane, height = cast(factors.relief, camera, x, y)
    hit = np.isfinite(height)
    if hit.any():
        p, q = np.ascontiguousarray(plane[hit].T)
        surface = read_surface(factors.relief, factors.one, p, q)
        color = paint_head(surface, factors.one)
        gloss = paint_features(color, surface, factors.one, blur=0.5 / (factors.placement[0] * framing.scale * fine))
        picture[hit] = _light(color, gloss, surface, factors.surroundings, camera)
    if factors.surroundings.occluder is not None:
        paint_occluder(picture, factors.surroundings, *_plain(x, y, fine, framing))
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(small * 255), 0, 255).astype(np.uint8)


def _light(color: Floats, gloss: Floats, surface: Surface, around: Surroundings, camera: Camera) -> Floats:
    """Shade by one light and ambient light, darker in hollows, with highlights on glossy surfaces."""
    slope = np.stack((-surface.slope_p, -surface.slope_q, np.ones_like(surface.p)), -1)
    slope /= np.sqrt((slope * slope).sum(1, keepdims=True))
    normal = slope @ camera.rotation.T.astype(np.float32)
    toward = normal @ around.light.astype(np.float32)
    diffuse = np.clip(0.35 + 0.65 * toward, 0, None)
    hollow = np.clip(0.25 + 0.75 * surface.openness, 0.45, 1.1)
    rim = 0.75 + 0.25 * smoothstep(0.0, 0.45, normal[:, 2])
    shade = (around.ambient + (1.12 - around.ambient) * diffuse) * hollow * rim * around.exposure
    half = around.light + np.array((0.0, 0.0, 1.0))
    half /= np.linalg.norm(half)
    shine = np.clip(normal @ half.astype(np.float32), 0, 1) ** 24 * gloss * 0.45
    return np.asarray(color * shade[:, None] * around.tint.astype(np.float32) + shine[:, None], np.float32)
