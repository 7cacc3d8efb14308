"""The face of a photo as a model sees it: a square crop, and the way between its pixels and those of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.finding import FaceFinder
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.images import read_image
from dife_lightning.geometry.affine_crops import invert_affine, map_points
from dife_lightning.geometry.crops import CropOptions, Square, crop_image, face_square
from dife_lightning.utils.notes import note

#: A file, or an image (H, W, 3) uint8.
Photo = str | Path | NDArray[np.uint8]
#: Side in pixels of the crops for pictures.
PICTURE = 256
#: Faces that were found have at least this score in photos/dife; photos without any had up to 0.97.
SURE = 0.97
#: ``auto``, ``whole``, or a box x0, y0, x1, y1 in pixels of the photo.
Where = str | Sequence[float]


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face of a photo.

    Attributes:
        image: (S, S, 3) uint8, what a model sees.
        picture: (256, 256, 3) uint8, the same for people.
        square: of the photo that it shows.
        photo_size: width and height of the photo in pixels.
        how: what said where the face is: ``box``, ``found`` or ``whole``.
        score: of a face that was found, at most 1; NaN otherwise.
    """

    image: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    square: Square
    photo_size: tuple[int, int]
    how: str
    score: float = float("nan")

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return len(self.image)

    def to_photo(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``points`` (..., 2) in pixels of the crop to pixels of the photo."""
        return map_points(self.square.matrix(self.size), points)

    def to_crop(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``points`` (..., 2) in pixels of the photo to pixels of the crop."""
        return map_points(invert_affine(self.square.matrix(self.size)), points)

    def inside_photo(self, points: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which ``points`` (..., 2), in pixels of the photo, are inside it."""
        inside = (points >= -0.5) & (points < np.array(self.photo_size) - 0.5)
        return np.asarray(inside.all(axis=-1))


def open_photo(photo: Photo) -> NDArray[np.uint8]:
    """Return a photo as (H, W, 3) uint8, upright; ConfigError or DataError for anything else."""
    if isinstance(photo, str | Path):
        return read_image(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ConfigError(
            f"a photo of type {photo.dtype} and shape {photo.shape}; expected a file or a uint8 array (H, W, 3)"
        )
    return photo


def crop_face(
    photo: Photo, size: int, where: Where = "auto", finder: FaceFinder | None = None, name: str = "a photo"
) -> FaceCrop:
    """Return the face of a photo.

    Args:
        photo: a file, or an image (H, W, 3) uint8.
        size: side of the crop in pixels.
        where: ``whole`` for a photo that is a face; a box of the face, whose longer side becomes that of the crop; or
            ``auto``: ``finder`` looks for it, and without one the whole photo is taken.
        finder: of faces.
        name: of the photo, for notes.

    Raises:
        ConfigError: another ``where``, or an array that is no image.
        DataError: a photo that cannot be read, a box that has no area or is outside of it, or no face found in it.
    """
    image = open_photo(photo)
    extent, score, how = (image.shape[1], image.shape[0]), float("nan"), "whole"
    if isinstance(where, str) and where not in ("auto", "whole"):
        raise ConfigError(f"face '{where}': expected auto, whole, or a box x0,y0,x1,y1 in pixels")
    if not isinstance(where, str):
        square, how = _box_square(where, extent), "box"
    elif where == "auto" and finder is not None:
        (square, score), how = finder.find(image), "found"
        if score < SURE:
            note(f"{name}: what was found is hardly like a face (likeness {score:.2f}, faces have {SURE} or more); "
                 "give its box, or say that the whole photo is one")  # fmt: skip
    else:
        square = face_square(*_NOTHING, extent, CropOptions("whole", min_side=1), landmarks="all")
    seen, picture = (crop_image(image, square, side, "border") for side in (size, PICTURE))
    return FaceCrop(seen, picture, square, extent, how, score)


def _box_square(box: Sequence[float], extent: tuple[int, int]) -> Square:
    corners = np.asarray(box, np.float32)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ConfigError(f"a box {box!r}; expected four numbers x0, y0, x1, y1 in pixels of the photo")
    if not (corners[2:] > corners[:2]).all():
        raise DataError(f"a box {corners.tolist()} without area; expected x0 < x1 and y0 < y1")
    return face_square(*_NOTHING, extent, CropOptions("box", min_side=1), landmarks="all", box=corners)


_NOTHING = np.zeros((0, 2), np.float32), np.zeros(0, bool)
