"""What a page computes: points of some photos on others, on faces that are found and embedded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.face_crops import FaceCrop, Where
from dife_lightning.applications.landmark_transfer import LandmarkTransfer, SourceFace
from dife_lightning.errors import ConfigError, DataError, DifeError
from dife_lightning.page.photos import PagePhotos
from dife_lightning.pretrained.embedders import EmbeddedOnce
from dife_lightning.utils.checks import require

#: Faces that are held with their pixels' crops, and points that one request may carry.
HELD, POINTS = 400, 60
#: Bytes of embeddings that are held, so that a click does not wait for those of all photos.
KEPT = 2**28
#: Bytes of pixels of photos with points that are held, likewise.
PIXELS = 2**28


class PageMatcher:
    """Carries points between the photos of a page.

    Args:
        photos: of the page.
        model: a shipped or trained embedder.
        size: side in pixels of what the model sees.

    Raises:
        AssetError: no such model.
    """

    def __init__(self, photos: PagePhotos, model: str = "photos/dife", size: int | None = None) -> None:
        from dife_lightning.applications.face_embedder import FaceEmbedder

        self.photos, self.eyes = photos, FaceEmbedder(model, size)
        known = self.eyes.embedder
        known.embed = EmbeddedOnce(known.embed, KEPT)  # type: ignore[method-assign]
        self._faces: OrderedDict[int, FaceCrop] = OrderedDict()
        self._boxes: dict[int, Where] = {}
        self._pixels: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()  # one request computes at a time

    def face(self, number: int) -> dict[str, Any]:
        """Return the size of a photo and the square of its face; DataError if it cannot be read or shows no face."""
        with self._lock:
            face = self._face(number)
        square = face.square
        half = square.side / 2
        box = [square.x - half, square.y - half, square.x + half, square.y + half]
        return {"size": list(face.photo_size), "box": [round(value, 1) for value in box], "how": face.how}

    def set_box(self, number: int, box: Sequence[float] | None) -> None:
        """Say where the face of a photo is; None looks for it again."""
        try:
            corners = None if box is None else np.array(box, float)
        except (TypeError, ValueError):
            corners = np.zeros(0)
        if corners is not None and not (
            corners.shape == (4,) and np.isfinite(corners).all() and (corners[2:] > corners[:2]).all()
        ):
            raise ConfigError("a box of a face: expected x0, y0, x1, y1")
        with self._lock:
            self._faces.pop(number, None)
            if corners is None:
                self._boxes.pop(number, None)
            else:
                self._boxes[number] = corners.tolist()

    def carry(self, sources: dict[int, Any], names: Sequence[str], targets: Sequence[int]) -> dict[int, Any]:
        """Carry points to photos.

        Args:
            sources: number of a photo -> its points, each [x, y] in its pixels or None.
            names: of the points.
            targets: numbers of photos.

        Returns:
            Number -> points, confidence, cycle errors and whether they match; or ``error``.

        Raises:
            ConfigError: points or names that do not fit.
            DataError: a source that cannot be read or shows no face.
        """
        require(at_least=1, at_most=POINTS, points=len(names))
        if not sources or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ConfigError("points: expected names that differ, and one photo or more with points")
        with self._lock:
            faces = [self._source(number, points, len(names)) for number, points in sources.items()]
            carry = LandmarkTransfer(faces, list(names), self.eyes.embedder, size=self.eyes.size)
            found: dict[int, Any] = {}
            crops: dict[int, FaceCrop] = {}
            for number in targets:
                try:
                    crops[number] = self._face(number)
                except DifeError as error:
                    found[number] = {"error": str(error)}
            for start in range(0, len(crops), 16):
                part = list(crops.items())[start : start + 16]
                for (number, _), one in zip(part, carry.carry([face for _, face in part]), strict=True):
                    found[number] = {
                        "points": [_plain(point, 2) for point in one.points],
                        "confidence": _plain(one.confidence),
                        "cycle_error": _plain(one.cycle_error),
                        "matched": one.matched.tolist(),
                    }
        return found

    def _face(self, number: int) -> FaceCrop:
        if number in self._faces:
            self._faces.move_to_end(number)
            return self._faces[number]
        photo = self.photos[number]
        pixels = photo.read()
        face = self.eyes.crop(pixels, self._boxes.get(number, "auto"), photo.name)
        # the crop alone is kept: a copy of the photo's size without its pixels
        blank = np.broadcast_to(np.uint8(0), pixels.shape)
        self._faces[number] = FaceCrop(blank, face.square, face.image, face.how, face.score)
        if len(self._faces) > HELD:
            self._faces.popitem(last=False)
        return self._faces[number]

    def _read(self, number: int) -> NDArray[np.uint8]:
        """Return the pixels of a photo with points; those of the last ones are kept."""
        if number not in self._pixels:
            self._pixels[number] = self.photos[number].read()
        self._pixels.move_to_end(number)
        while len(self._pixels) > 1 and sum(pixels.nbytes for pixels in self._pixels.values()) > PIXELS:
            self._pixels.popitem(last=False)
        return self._pixels[number]

    def _source(self, number: int, points: Any, count: int) -> SourceFace:
        photo, face = self.photos[number], self._face(number)
        try:
            places = np.array([[np.nan, np.nan] if point is None else point for point in points], np.float32)
        except (TypeError, ValueError):
            places = np.zeros((0, 2), np.float32)
        if places.shape != (count, 2):
            raise ConfigError(f"points of {photo.name}: expected {count} pairs of numbers")
        visible: Any = np.isfinite(places).all(axis=1)
        if not visible.any():
            raise DataError(f"{photo.name} has no point")
        square = face.square
        box = np.array([square.x, square.y, square.x, square.y]) + square.side / 2 * np.array([-1, -1, 1, 1])
        return SourceFace(self._read(number), np.nan_to_num(places), visible, box.astype(np.float32), photo.name)


def _plain(values: Any, decimals: int = 3) -> list[float | None]:
    return [None if value != value else round(float(value), decimals) for value in values]
