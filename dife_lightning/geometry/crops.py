"""Square crops around faces.

Errors of landmark transfer are relative to the crop's side, so the rule and its factor change all numbers.
:meth:`CropOptions.published` returns what a result must record of them. A square may extend beyond the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.utils.checks import require, require_choices

Rule = Literal["landmarks", "box", "celeba", "animalweb", "whole"]
Padding = Literal["zero", "reflect", "border"]

#: Part of the key of cached crops; increase it when the pixels for equal options change.
CROP_VERSION = 1
#: Default side of a ``landmarks`` crop relative to the largest extent of the points, by landmark set (the paper states
#: none). Eyes and nose then fill about a third of the side, eyes to mouth a half; ``all`` includes contours, and is
#: the factor for sets of named points as well.
FACTORS = {"3-point": 2.8, "9-point": 1.8, "all": 1.3}
#: Width and height of aligned CelebA pictures, and the rows that DVE uses.
CELEBA_SIZE, CELEBA_ROWS = (178, 218), (30, 208)


class CropError(DataError):
    """A face cannot be cropped; ``reason`` has no numbers, so that equal reasons can be counted."""

    def __init__(self, reason: str, found: str = "") -> None:
        super().__init__(f"no crop: {reason}{f' ({found})' if found else ''}")
        self.reason = reason


@dataclass(frozen=True)
class CropOptions:
    """Options of a crop.

    Attributes:
        rule: position of the square.
            ``landmarks``: centre = mean of the points, side = factor times their largest extent in x or y.
            ``box``: centre of the annotated box, side = factor times its longer side.
            ``celeba``: DVE's crop of aligned CelebA pictures, rows 30 to 208 at full width.
            ``animalweb``: the box without a margin, as in Meta-CSKT.
            ``whole``: the picture, padded to a square.
        factor: see ``rule``; by default that of the landmark set (``FACTORS``), or 1 for a box.
        shift: moves the centre down by this fraction of the side; for ``landmarks`` and ``box``.
        padding: pixels outside the picture: black, mirrored at the edge, or repeating the edge.
        min_side: smallest allowed side in pixels.
    """

    rule: Rule = "landmarks"
    factor: float | None = None
    shift: float = 0.0
    padding: Padding = "zero"
    min_side: float = 32.0

    def __post_init__(self) -> None:
        require_choices("crop.", self)
        require("crop.", above=0, factor=self.factor, min_side=self.min_side)
        require("crop.", at_least=-1, at_most=1, shift=self.shift)
        if self.rule not in ("landmarks", "box") and (self.factor is not None or self.shift):
            raise ConfigError(f"crop: rule '{self.rule}' has no factor or shift; omit them, or use landmarks or box")

    def side_factor(self, landmarks: str) -> float | None:
        """Return the factor for a landmark set (a protocol, or ``all``); None if the rule has none."""
        if self.rule not in ("landmarks", "box", "animalweb"):
            return None
        default = FACTORS.get(landmarks, FACTORS["all"]) if self.rule == "landmarks" else 1.0
        return default if self.factor is None else self.factor

    def published(self, landmarks: str) -> dict[str, Any]:
        """Return the options as a result records them, with the factor that is used."""
        return {
            "rule": self.rule,
            "landmarks": landmarks if self.rule == "landmarks" else None,
            "factor": self.side_factor(landmarks),
            "shift": self.shift,
            "padding": self.padding,
            "min_side": self.min_side,
            "resampling": "bilinear, anti-aliased",
        }


@dataclass(frozen=True)
class Square:
    """A square of a picture: centre (x, y) and side in pixels."""

    x: float
    y: float
    side: float

    def to_crop(self, points: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        """Map ``points`` (..., 2) of the picture to the crop of ``size`` x ``size`` pixels."""
        moved = (np.asarray(points, np.float64) - self._corner()) * (size / self.side) - 0.5
        return moved.astype(np.float32)

    def matrix(self, size: int) -> NDArray[np.float64]:
        """Return the (2, 3) affine map from pixels of the crop of ``size`` x ``size`` to pixels of the picture."""
        scale = self.side / size
        return np.column_stack((np.eye(2) * scale, self._corner() + 0.5 * scale))

    def box(self) -> NDArray[np.float32]:
        """Return the square as a box (4,) x0, y0, x1, y1 in pixels of the picture."""
        return np.concatenate((self._corner(), self._corner() + self.side)).astype(np.float32)

    def _corner(self) -> NDArray[np.float64]:
        return np.array([self.x, self.y]) - self.side / 2


def face_square(
    points: NDArray[np.float32],
    visible: NDArray[np.bool_],
    image_size: tuple[int, int],
    options: CropOptions,
    *,
    landmarks: str,
    box: NDArray[np.float32] | None = None,
) -> Square:
    """Return the square of one face.

    Args:
        points: (K, 2) points of the landmark set, pixels of the picture.
        visible: (K,) bool; other points are ignored.
        image_size: width and height of the picture.
        options: rule and factor.
        landmarks: name of the landmark set, for the rule's default factor.
        box: (4,) x0, y0, x1, y1 in pixels.

    Raises:
        CropError: no visible point, all points at one position, no box, not an aligned CelebA picture, a side below
            ``min_side``, or a square outside the picture.
    """
    factor = options.side_factor(landmarks) or 1.0
    if options.rule == "landmarks":
        square = _around_points(points[visible], factor)
    elif options.rule in ("box", "animalweb"):
        square = _around_box(box, factor)
    elif options.rule == "celeba":
        square = _celeba(image_size)
    else:
        width, height = image_size
        square = Square((width - 1) / 2, (height - 1) / 2, float(max(width, height)))
    square = Square(square.x, square.y + options.shift * square.side, square.side)
    _check_square(square, image_size, options)
    return square


def _around_points(points: NDArray[np.float32], factor: float) -> Square:
    if not len(points):
        raise CropError("no visible point")
    exact = points.astype(np.float64)
    extent = float(np.ptp(exact, axis=0).max())
    if not extent > 0:
        raise CropError("all points in one place", f"{len(points)} at x {exact[0, 0]:g}, y {exact[0, 1]:g}")
    x, y = exact.mean(axis=0).tolist()
    return Square(x, y, factor * extent)


def _around_box(box: NDArray[np.float32] | None, factor: float) -> Square:
    if box is None:
        raise CropError("no box in the annotation")
    x0, y0, x1, y1 = (float(value) for value in box)
    return Square((x0 + x1) / 2, (y0 + y1) / 2, factor * max(x1 - x0, y1 - y0))


def _celeba(image_size: tuple[int, int]) -> Square:
    if tuple(image_size) != CELEBA_SIZE:
        expected = " x ".join(str(side) for side in CELEBA_SIZE)
        raise CropError(f"not an aligned CelebA picture of {expected} px", f"{image_size[0]} x {image_size[1]}")
    top, bottom = CELEBA_ROWS
    return Square((CELEBA_SIZE[0] - 1) / 2, (top + bottom - 1) / 2, float(bottom - top))


def _check_square(square: Square, image_size: tuple[int, int], options: CropOptions) -> None:
    if not square.side >= options.min_side:
        raise CropError(f"smaller than {options.min_side:g} px", f"side {square.side:.1f}")
    half = square.side / 2
    for centre, length in zip((square.x, square.y), image_size, strict=True):
        if centre + half <= -0.5 or centre - half >= length - 0.5:
            raise CropError("outside the picture", f"x {square.x:g}, y {square.y:g} of {image_size}")


def crop_image(image: NDArray[np.uint8], square: Square, size: int, padding: Padding = "zero") -> NDArray[np.uint8]:
    """Return the pixels of ``square`` in ``image`` (H, W, 3) as (size, size, 3)."""
    # Source pixels on each side that a pixel of the crop depends on.
    reach = math.ceil(max(1.0, square.side / size)) + 1
    patches, box = [], []
    for centre, length in ((square.y, image.shape[0]), (square.x, image.shape[1])):
        start = centre - square.side / 2 + 0.5  # from the edge of the picture, as in Pillow
        first = math.floor(start) - reach
        patches.append(padded_indices(np.arange(first, math.ceil(start + square.side) + reach), length, padding))
        box.append(start - first)
    (rows, row_inside), (columns, column_inside) = patches
    if row_inside.all() and column_inside.all():
        patch = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # without a gather, which is slow
    else:
        patch = image[rows[:, None], columns[None, :]]
        if padding == "zero":
            patch[~(row_inside[:, None] & column_inside[None, :])] = 0
    corners = (box[1], box[0], box[1] + square.side, box[0] + square.side)
    return np.asarray(Image.fromarray(patch).resize((size, size), Image.Resampling.BILINEAR, box=corners))


def padded_indices(
    indices: NDArray[np.int64], length: int, padding: Padding
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Map ``indices`` (...) of a padded row to pixels of the row of ``length``, and return which of them are inside."""
    inside = (indices >= 0) & (indices < length)
    if padding == "reflect":
        folded = np.mod(indices, 2 * length)
        return np.minimum(folded, 2 * length - 1 - folded), inside
    return np.clip(indices, 0, length - 1), inside
