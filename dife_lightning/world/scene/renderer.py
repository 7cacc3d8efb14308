"""The renderer of the embedded face world: a picture of a procedural head with exact geometric truth.

A sample is a pure function of (species, split, index): its random numbers come from a generator seeded with stable
hashes of species and split, so that splits never share a sample, and neither size nor framing changes the individual.
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

#: Changes whenever the pixels or the truth of any sample change; part of the key of every cache.
WORLD_VERSION = 1
SUPERSAMPLING = 2
_HIDDEN_BY = 0.05  # how far in front of a landmark (in half heads) the first surface must be to hide it


@dataclass(frozen=True)
class WorldSample:
    """One picture of the world and its truth.

    The first surface that a pixel's ray meets decides what the pixel is. An ear is not face: where one hangs over the
    face, the pixel is off the mask and has no (u, v). Hair is face within the outline of the head: the pixel stays on
    the mask, with the (u, v) of the skin right behind that strand, straight towards the back of the head. Spectacle
    frames and clear lenses are painted on the face and change nothing. ``visible`` is stricter than ``mask``: a
    landmark under hair is not visible, though its pixel is on the mask.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        points: (9, 2) float32 landmarks of the scheme ``animalweb-9``, pixels, x then y, pixel centres at integers.
        visible: (9,) bool; False outside the picture, behind another part of the head, and under an ear, hair, dark
            lenses or something in front of the head.
        mask: (size, size) bool, the face at the pixel centres: within the outline of the head, not under ears, dark
            lenses or something in front of the head.
        uv: (size, size, 2) float32 canonical surface coordinates in [-1, 1], common to all species; finite exactly on
            the mask, NaN elsewhere.
        species: its name.
        split: ``train``, ``val`` or ``test``.
        index: 0 or more.
        pose: yaw, pitch, roll of the head in degrees (positive: nose to the image right, nose down, head clockwise);
            the framing's rotation is not part of it.
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
    """Render one sample: a pure function of its arguments.

    Args:
        species: name of a shipped species, or a :class:`Species` of your own.
        split: ``train``, ``val`` or ``test``; disjoint by construction.
        index: any number from 0.
        size: side in pixels.
        framing: moves the whole picture, background included; the individual stays the same.

    Raises:
        ConfigError: unknown species or split, negative index, or a size under 8.
    """
    factors, framing = draw_factors(species, split, index), framing or Framing()
    check_size(size)
    image = _picture(factors, size, framing)
    mask, uv = _surface_truth(factors, size, framing)
    points, visible = _landmarks(factors, size, framing)
    name = species if isinstance(species, str) else species.name
    return WorldSample(image, points, visible, mask, uv, name, split, index, factors.one.pose, factors.one.mouth_open)


def render_image(species: str | Species, split: Split, index: int, *, size: int = 64) -> NDArray[np.uint8]:
    """Return only the (plain) picture of :func:`render`, faster."""
    check_size(size)
    return _picture(draw_factors(species, split, index), size, Framing())


def landmarks_only(
    species: str | Species, split: Split, index: int, *, size: int = 64, framing: Framing | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return only ``points`` and ``visible`` of :func:`render`, about ten times faster."""
    check_size(size)
    return _landmarks(draw_factors(species, split, index), size, framing or Framing())


def check_size(size: int) -> None:
    """Refuse a side that is too short for a face.

    Raises:
        ConfigError: ``size`` is under 8.
    """
    if size < 8:
        raise ConfigError(f"size must be 8 pixels or more, found {size}")


def _landmarks(factors: SampleFactors, size: int, framing: Framing) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    plane = factors.one.landmarks
    points, visible = look_at(factors, plane, size, framing)
    return points, visible & ~factors.relief.covered(plane)


def look_at(
    factors: SampleFactors, plane: Array, size: int, framing: Framing
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return where the surface at ``plane`` (n, 2) of the face plane is seen: pixels (n, 2), and whether it is, (n,).

    Hidden is what lies outside the picture, behind another part of the head, under dark lenses or something in front
    of the head. Which part of the head is the surface there (face, ear or hair) is for the caller to ask.
    """
    camera = factors.camera(size, framing)
    points, depth = camera.project(np.column_stack((plane, factors.relief.at(plane))))
    pixel = points.astype(np.float32)[None]
    seen, height = cast(factors.relief, camera, pixel[..., 0], pixel[..., 1])
    front = camera.project(np.column_stack((seen[0].astype(np.float64), height[0].astype(np.float64))))[1]
    visible = ~(front - depth > _HIDDEN_BY)  # a ray that just misses (NaN) passes the silhouette: nothing in front
    visible &= ((points >= -0.5) & (points <= size - 0.5)).all(1)
    visible &= ~hidden_by_glasses(factors.one, plane[:, 0], plane[:, 1])
    covered = occluder_distance(factors.surroundings, *_plain(points[:, 0], points[:, 1], size, framing))
    if covered is not None:
        visible &= covered > 0
    return points.astype(np.float32), visible


def _plain(x: Array | Floats, y: Array | Floats, size: int, framing: Framing) -> tuple[Floats, Floats]:
    """Take pixels of the framed picture to coordinates of the plain one, -0.5 to 0.5 across."""
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
    """Mask and canonical coordinates at the pixel centres."""
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
    # What is out of focus needs no supersampling.
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
    """Soft shading by one light and the sky, darker in hollows, with a highlight where the surface is glossy."""
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
