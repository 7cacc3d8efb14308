"""The face of a photo as a model sees it: a square crop, and the way between its pixels and those of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.finding import FaceFinder, Found
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.images import read_image
from dife_lightning.geometry.affine_crops import invert_affine, map_points
from dife_lightning.geometry.crops import CropOptions, Square, crop_image, face_square
from dife_lightning.utils.notes import note

#: A file, or an image (H, W, 3) uint8.
Photo = str | Path | NDArray[np.uint8]
#: Side in pixels of the crops for pictures.
PICTURE = 256
#: Least score of a face that was found. With photos/dife, nine in ten photos of val have it (of horses, four in five),
#: and five of 18 pictures in scikit-image without a face.
SURE = 0.97
#: Least width and height of a photo in pixels.
SMALLEST = 8
#: ``auto``, ``whole``, or a box x0, y0, x1, y1 in pixels of the photo.
Where = str | Sequence[float]


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face of a photo.

    Attributes:
        photo: (H, W, 3) uint8.
        square: of the photo that the face fills.
        image: (S, S, 3) uint8, what a model sees of it.
        how: what said where the face is: ``points``, ``box``, ``found`` or ``whole``.
        score: of a face that was found, at most 1; NaN otherwise.
    """

    photo: NDArray[np.uint8]
    square: Square
    image: NDArray[np.uint8]
    how: str
    score: float = float("nan")

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return len(self.image)

    @property
    def sure(self) -> bool:
        """Whether it is like a face; a face that was not looked for is."""
        return not self.score < SURE

    @property
    def photo_size(self) -> tuple[int, int]:
        """Width and height of the photo in pixels."""
        return self.photo.shape[1], self.photo.shape[0]

    @property
    def picture(self) -> NDArray[np.uint8]:
        """What the model sees, (256, 256, 3), for people."""
        return crop_image(self.photo, self.square, PICTURE, "border")

    def release(self) -> None:
        """Let go of the photo, so that it is freed; what needs it raises AttributeError from now on."""
        object.__delattr__(self, "photo")

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
        image = read_image(photo)
        if min(image.shape[:2]) < SMALLEST:
            size = f"{image.shape[1]} x {image.shape[0]} px"
            raise DataError(f"{photo} has {size}; expected a photo of at least {SMALLEST} px in width and height")
        return image
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ConfigError(
            f"a photo of type {photo.dtype} and shape {photo.shape}; expected a file or a uint8 array (H, W, 3)"
        )
    return photo


def crop_face(
    photo: Photo,
    size: int,
    where: Where = "auto",
    finder: FaceFinder | None = None,
    name: str = "a photo",
    found: Found | None = None,
) -> FaceCrop:
    """Return the face of a photo.

    Args:
        photo: a file, or an image (H, W, 3) uint8.
        size: side of the crop in pixels.
        where: ``whole`` for a photo that is a face; a box of the face, whose longer side becomes that of the crop; or
            ``auto``: ``finder`` looks for it, and without one the whole photo is taken.
        finder: of faces.
        name: of the photo, for notes.
        found: what ``finder`` has found in it already, for ``auto``.

    Raises:
        ConfigError: another ``where``, or an array that is no image.
        DataError: a photo that cannot be read, a box that has no area or is outside of it, or no face found in it.
    """
    image, score = open_photo(photo), float("nan")
    extent = image.shape[1], image.shape[0]
    if not isinstance(where, str):
        square, how = _box_square(where, extent), "box"
    elif where not in ("auto", "whole"):
        raise ConfigError(f"face '{where}': expected auto, whole, or a box x0,y0,x1,y1 in pixels")
    elif where == "auto" and finder is not None:
        found = found or finder.find([image])[0]
        (square, score), how = _checked(found, name), "found"
    else:
        square, how = face_square(*_NOTHING, extent, CropOptions("whole", min_side=1), landmarks="all"), "whole"
    return FaceCrop(image, square, crop_image(image, square, size, "border"), how, score)


def _checked(found: Found, name: str) -> tuple[Square, float]:
    square, score = found
    if square is None:
        raise DataError(f"{name}: no face found: eyes and nose are in one place; give the box of the face")
    if score < SURE:
        note(f"{name}: what was found is hardly like a face (likeness {score:.2f}, faces have {SURE} or more); "
             "give its box, or say that the whole photo is one")  # fmt: skip
    return square, score


def _box_square(box: Sequence[float], extent: tuple[int, int]) -> Square:
    corners = np.asarray(box, np.float32)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ConfigError(f"a box {box!r}; expected four numbers x0, y0, x1, y1 in pixels of the photo")
    if not (corners[2:] > corners[:2]).all():
        raise DataError(f"a box {corners.tolist()} without area; expected x0 < x1 and y0 < y1")
    return face_square(*_NOTHING, extent, CropOptions("box", min_side=1), landmarks="all", box=corners)


_NOTHING = np.zeros((0, 2), np.float32), np.zeros(0, bool)
