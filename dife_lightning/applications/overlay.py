"""An object with transparency, drawn on one face, put on other faces by dense correspondence (DIFE, figure 6).

The paper states no algorithm. Here each place of the target face is matched to the reference face on which the object
was drawn. A robust similarity is fitted to the matches near the object, what is left of them is smoothed, and the
object is sampled at the sum of both. Where too few matches agree with the similarity, nothing is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dife_lightning.applications.dense_match import CYCLE, DenseMatch, matched_faces
from dife_lightning.applications.face_crops import FaceCrop, Photo, Where, open_photo
from dife_lightning.applications.face_embedder import FaceEmbedder, NamedEmbedder
from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.checks import require

#: The drawn objects that come with the package, in pixels of the reference face that :func:`drawn_reference` returns.
FOLDER = Path(__file__).with_name("objects")
OBJECTS = ("glasses", "mask", "hat")
#: Side in pixels of the drawn reference face, and its number among the world's human test faces.
REFERENCE_SIDE, REFERENCE = 256, 57
#: Least share of the places near the object that must agree with the similarity.
SUPPORT = 0.3
#: Distance, relative to the reference face, within which a match agrees; that within which matches count for an object;
#: and the width of the smoothing of what is left.
AGREES, NEAR, SMOOTH = 0.06, 0.12, 0.1


@dataclass(frozen=True, eq=False)
class Placed:
    """A photo with an object on it, or why there is none.

    Attributes:
        image: (H, W, 3) uint8, the photo, with the object if it was placed.
        support: share of the places near the object that agree with the similarity, in [0, 1].
        reason: why the object was not placed; empty if it was.
        similarity: (2, 3) map from pixels of the photo to pixels of the reference; None if it was not placed.
    """

    image: NDArray[np.uint8]
    support: float
    reason: str = ""
    similarity: NDArray[np.float64] | None = None


class Overlay:
    """Puts an object on faces.

    Example:
        >>> Overlay("glasses")("cat.jpg").image  # doctest: +SKIP

    Args:
        image: the object: a PNG file with transparency, of the size of the reference photo, an array (H, W, 4) uint8,
            or one of ``glasses``, ``mask`` and ``hat``, which need no reference.
        reference: photo of the face on which the object lies.
        where: its face; see ``crop_face``.
        model: a shipped or trained embedder.
        size: side in pixels of what the model sees.
        opacity: of the object, above 0 up to 1.
        support: least share of the places near the object that must agree; see ``SUPPORT``.
        steady: share of the last frame's placement in each frame's, for the frames of a video with one face; 0 for
            single photos.

    Raises:
        ConfigError: an unknown object, no reference for a file, another size than the reference, no opaque pixel, or a
            number out of its range.
        DataError: a file that cannot be read.
    """

    def __init__(
        self,
        image: str | Path | NDArray[np.uint8],
        reference: Photo | None = None,
        where: Where = "auto",
        model: str | NamedEmbedder = "photos/dife",
        *,
        size: int | None = None,
        opacity: float = 1.0,
        support: float = SUPPORT,
        steady: float = 0.0,
    ) -> None:
        require(above=0, at_most=1, opacity=opacity)
        require(at_least=0, at_most=1, support=support)
        require(at_least=0, below=1, steady=steady)
        rgba = _read_object(image)
        if reference is None:
            if not (isinstance(image, str) and image in OBJECTS):
                raise ConfigError("an object of your own needs the photo of the face on which it was drawn (--on)")
            reference, where = drawn_reference(), "whole"
        photo = open_photo(reference)
        if rgba.shape[:2] != photo.shape[:2]:
            sizes = f"{rgba.shape[1]} x {rgba.shape[0]} px, its reference {photo.shape[1]} x {photo.shape[0]}"
            raise ConfigError(f"the object has {sizes}; draw it on a layer of the reference photo itself")
        if not rgba[..., 3].any():
            raise ConfigError("the object has no opaque pixel; save it as PNG with transparency around it")
        self.eyes = FaceEmbedder(model, size)
        self.reference = self.eyes.crop(photo, where, "the reference")
        self._maps = self.eyes.embed([self.reference])
        self.least, self.steady = support, steady
        alpha = rgba[..., 3:].astype(np.float32) / 255 * opacity
        # premultiplied, so that edges stay clean
        self._layers: NDArray[np.float32] = np.concatenate((rgba[..., :3] * alpha, alpha), axis=-1, dtype=np.float32)
        self._far = cv2.distanceTransform((rgba[..., 3] == 0).astype(np.uint8), cv2.DIST_L2, 5)
        self._last: NDArray[np.float64] | None = None

    def __call__(self, photo: Photo, where: Where = "auto") -> Placed:
        """Return a photo with the object on its face; ``where`` and errors as in ``match``."""
        return self.place(self.eyes.crop(photo, where))

    def place(self, face: FaceCrop) -> Placed:
        """Return the photo of ``face`` with the object on it."""
        if not face.sure:
            self._last = None
            return Placed(face.photo, 0.0, "what was found is hardly like a face")
        found = matched_faces(face, self.reference, (self.eyes.embed([face]), self._maps), CYCLE)
        similarity, support = self._similarity(found)
        if similarity is None or support < self.least:
            self._last = None
            text = f"{100 * support:.0f} % of the places near the object agree, {100 * self.least:.0f} % are needed"
            return Placed(face.photo, support, text)
        similarity = self._steadied(similarity)
        return Placed(self._drawn(found, similarity), support, "", similarity)

    def _near(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points (..., 2) of the reference photo are near the object."""
        height, width = self._far.shape
        inside = ((points >= 0) & (points < (width, height))).all(axis=-1)
        x, y = (np.clip(points[..., k], 0, limit - 1).astype(int) for k, limit in enumerate((width, height)))
        return np.asarray(inside & (self._far[y, x] <= NEAR * self.reference.square.side))

    def _similarity(self, found: DenseMatch) -> tuple[NDArray[np.float64] | None, float]:
        """Return the similarity from the photo to the reference, and its support near the object.

        An object beside the face, such as a hat, has no matches of its own; all matches count for it then.
        """
        use = found.matched & self._near(found.target)
        beside = int(use.sum()) < 12
        use = found.matched if beside else use
        if use.sum() < 12:
            return None, 0.0
        cv2.setRNGSeed(0)
        limit = AGREES * self.reference.square.side
        fitted, _ = cv2.estimateAffinePartial2D(
            found.source[use], found.target[use], method=cv2.RANSAC, ransacReprojThreshold=limit, maxIters=2000
        )
        if fitted is None or not np.isfinite(fitted).all():
            return None, 0.0
        matrix = np.asarray(fitted, np.float64)
        if _scale(matrix) < 1e-3:
            return None, 0.0
        expected = _mapped(matrix, found.source)
        agrees = found.matched & (np.linalg.norm(found.target - expected, axis=-1) <= limit)
        counted = found.matched if beside else self._near(expected) & found.first.inside_photo(found.source)
        return matrix, float(agrees[counted].mean()) if counted.any() else 0.0

    def _steadied(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mix a similarity with that of the last frame, unless the face has jumped by a quarter of its side."""
        if self.steady and self._last is not None:
            centre = np.array([self.reference.square.x, self.reference.square.y])
            back = [np.linalg.solve(m[:, :2], centre - m[:, 2]) for m in (matrix, self._last)]
            jump = float(np.linalg.norm(back[0] - back[1])) * _scale(matrix) / self.reference.square.side
            if jump < 0.25:
                matrix = self.steady * self._last + (1 - self.steady) * matrix
        self._last = matrix
        return matrix

    def _drawn(self, found: DenseMatch, matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the photo with the object sampled at similarity plus smoothed residual."""
        face = found.first
        box = self._box(matrix, face)
        x0, y0, x1, y1 = box
        if x0 >= x1 or y0 >= y1:
            return face.photo
        xs, ys = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
        pixels = np.stack((xs, ys), axis=-1)
        residual = self._residual(found, matrix)
        cells = face.to_crop(pixels) * (residual.shape[1] / face.size)
        left = cv2.remap(residual, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        at = (_mapped(matrix, pixels) + left).astype(np.float32)
        layers = cv2.remap(_blurred(self._layers, _scale(matrix)), at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        image = face.photo.copy()
        part = image[y0:y1, x0:x1].astype(np.float32) * (1 - layers[..., 3:]) + layers[..., :3]
        image[y0:y1, x0:x1] = part.round().clip(0, 255).astype(np.uint8)
        return image

    def _box(self, matrix: NDArray[np.float64], face: FaceCrop) -> tuple[int, int, int, int]:
        """Return the part of the photo that the object can reach, x0, y0, x1, y1."""
        ys, xs = np.nonzero(self._layers[..., 3])
        corners = np.array([(x, y) for x in (xs.min(), xs.max()) for y in (ys.min(), ys.max())], np.float64)
        there = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        slack = SMOOTH * face.square.side
        low, high = np.floor(there.min(axis=0) - slack).astype(int), np.ceil(there.max(axis=0) + slack).astype(int)
        width, height = face.photo_size
        return max(0, low[0]), max(0, low[1]), min(width, high[0] + 1), min(height, high[1] + 1)

    def _residual(self, found: DenseMatch, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what the similarity leaves of the matches that agree with it, (h, w, 2), smoothed; 0 far from any."""
        left = (found.target - _mapped(matrix, found.source)).astype(np.float32)
        limit = AGREES * self.reference.square.side
        weight = (found.matched & (np.linalg.norm(left, axis=-1) <= limit)).astype(np.float32)
        sigma = SMOOTH * weight.shape[1]
        total = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        summed = cv2.GaussianBlur(left * weight[..., None], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(summed / (total + 0.3)[..., None], np.float32)


def drawn_reference() -> NDArray[np.uint8]:
    """Return the drawn face (256, 256, 3) on which the shipped objects lie."""
    from dife_lightning.world.dataset import WorldFaces

    return WorldFaces("human", "test", REFERENCE + 1, size=REFERENCE_SIDE)[REFERENCE]["image"]


def _read_object(image: str | Path | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        rgba = image
    else:
        path = FOLDER / f"{image}.png" if str(image) in OBJECTS else Path(image).expanduser()
        if not path.is_file():
            raise ConfigError(f"no object '{image}': expected a PNG file. {did_you_mean(str(image), OBJECTS)}")
        open_photo(path)  # says what is wrong with a damaged file
        with Image.open(path) as opened:
            rgba = np.array(opened.convert("RGBA")) if _has_alpha(opened) else np.zeros((0, 0, 3), np.uint8)
    if rgba.dtype != np.uint8 or rgba.ndim != 3 or rgba.shape[2] != 4:
        raise ConfigError("the object has no transparency; save it as PNG with an alpha channel")
    return rgba


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.mode or "transparency" in image.info


def _scale(matrix: NDArray[np.float64]) -> float:
    """Return the pixels of the reference for each pixel of the photo."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def _mapped(matrix: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    return points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]


def _blurred(layers: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Return the object without detail that pixels of the photo, ``scale`` of its own wide, would alias."""
    sigma = max(0.6, 0.5 * scale)
    return np.asarray(cv2.GaussianBlur(layers, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), np.float32)
