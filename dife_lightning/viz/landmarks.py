"""Contact sheet of cropped faces with numbered landmarks, to spot swapped eyes or wrong crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceItem

#: Colours (RGB) of the eye at the viewer's left, of the one at the right, and of all other points.
LEFT, RIGHT, OTHER = (255, 140, 0), (40, 130, 255), (255, 255, 255)
_PAPER, _INK, _FAINT, _SHADOW = (255, 255, 255), (31, 36, 48), (110, 116, 130), (0, 0, 0)
#: Height in pixels of the head of a sheet and of the line below each face; space between cells.
HEAD, LINE, GAP = 44, 16, 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX
Color = tuple[int, int, int]


def landmark_sheet(
    faces: Sequence[FaceItem], sides: Sequence[str], *, columns: int = 6, heading: str = ""
) -> NDArray[np.uint8]:
    """Draw square crops of one size in rows, each with its visible points, their numbers and its name.

    ``sides`` is ``left`` or ``right`` for landmarks of the eye at that side of the viewer, else an empty text.
    ``heading`` is one line at the top; a legend of the colours follows. Returns (H, W, 3) uint8 RGB, in which the pixel
    at a visible point has its colour. DataError if there is no face.
    """
    if not faces:
        raise DataError("no face to draw: a sheet of landmarks needs at least one")
    size, columns = len(faces[0]["image"]), min(columns, len(faces))
    rows = -(-len(faces) // columns)
    width = max(GAP + columns * (size + GAP), 480)
    sheet = np.full((HEAD + rows * (size + LINE + GAP), width, 3), _PAPER, np.uint8)
    _head(sheet, heading)
    for number, face in enumerate(faces):
        top, left = cell_corner(number, columns, size)
        sheet[top : top + size, left : left + size] = draw_landmarks(face, sides)
        _write(sheet, face["name"][-max(4, size // 6) :], (left + 1, top + size + LINE - 4), _FAINT, 0.36)
    return sheet


def cell_corner(number: int, columns: int, size: int) -> tuple[int, int]:
    """Return row and column of the first pixel of face ``number`` in a sheet."""
    row, column = divmod(number, columns)
    return HEAD + row * (size + LINE + GAP), GAP + column * (size + GAP)


def draw_landmarks(face: FaceItem, sides: Sequence[str]) -> NDArray[np.uint8]:
    """Return the image of a face with its visible points and their numbers."""
    picture = np.ascontiguousarray(face["image"]).copy()
    shown = [(k, *np.rint(face["points"][k]).astype(int).tolist()) for k in np.flatnonzero(face["visible"]).tolist()]
    scale = 0.42 if len(shown) <= 30 else 0.27
    for k, x, y in shown:
        where = (x + 4, y - 3)
        _write(picture, str(k), where, _SHADOW, scale, thickness=3)
        _write(picture, str(k), where, _color(sides[k]), scale)
    for k, x, y in shown:  # after all numbers, so that no number hides a point
        cv2.circle(picture, (x, y), 3, _SHADOW, -1)
        cv2.circle(picture, (x, y), 2, _color(sides[k]), -1)
    return picture


def draw_points(
    image: NDArray[np.uint8], faces: Sequence[NDArray[np.floating]], names: Sequence[str], sides: Sequence[str]
) -> NDArray[np.uint8]:
    """Return a photo with the landmarks of its faces, in sizes that suit the photo's.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: (K, 2) points of each face, pixels of the image; NaN ones are not drawn.
        names: of the K points; with more than 12, numbers from 0 are drawn instead.
        sides: as in :func:`landmark_sheet`.
    """
    picture = np.ascontiguousarray(image).copy()
    unit = max(1.0, max(picture.shape[:2]) / 400)
    texts = names if len(names) <= 12 else [str(k) for k in range(len(names))]
    for points in faces:
        shown = [k for k, point in enumerate(points) if np.isfinite(point).all()]
        places = [(int(x), int(y)) for x, y in np.rint(points[shown]).tolist()]
        named = [(texts[k], sides[k]) for k in shown]
        for (x, y), (text, side) in zip(places, named, strict=True):
            where, width = (x + round(3 * unit), y - round(2 * unit)), round(unit)
            _write(picture, text, where, _SHADOW, 0.3 * unit, thickness=3 * width)
            _write(picture, text, where, _color(side), 0.3 * unit, thickness=width)
        for place, (_, side) in zip(places, named, strict=True):  # after all names, so that no name hides a point
            cv2.circle(picture, place, round(2.5 * unit), _SHADOW, -1, cv2.LINE_AA)
            cv2.circle(picture, place, round(1.7 * unit), _color(side), -1, cv2.LINE_AA)
    return picture


def _color(side: str) -> Color:
    return {"left": LEFT, "right": RIGHT}.get(side, OTHER)


def _head(sheet: NDArray[np.uint8], heading: str) -> None:
    (length, _), _ = cv2.getTextSize(heading, _FONT, 0.45, 1)
    _write(sheet, heading, (GAP, 16), _INK, min(0.45, 0.45 * (sheet.shape[1] - 2 * GAP) / max(length, 1)))
    x = GAP + 4
    for color, text in ((LEFT, "viewer's left eye"), (RIGHT, "viewer's right eye"), (OTHER, "other points")):
        cv2.circle(sheet, (x, 31), 5, _SHADOW, -1)
        cv2.circle(sheet, (x, 31), 4, color, -1)
        _write(sheet, text, (x + 10, 35), _FAINT, 0.4)
        x += 150


def _write(image: Any, text: str, where: tuple[int, int], color: Color, scale: float, thickness: int = 1) -> None:
    plain = text.encode("ascii", "replace").decode()  # the font has no other letters
    cv2.putText(image, plain, where, _FONT, scale, color, thickness, cv2.LINE_AA)
