"""Finds the pictures of a data set, rotates annotations as EXIF headers say, and checks that points fit pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dife_lightning.errors import DataError, MissingDataError
from dife_lightning.faces.image_info import frame_of
from dife_lightning.faces.images import SUFFIXES
from dife_lightning.faces.items import FaceAnnotation
from dife_lightning.geometry.coordinates import turn_points

#: How far a labelled point may lie outside its picture, relative to the longer side. Faces at the border have points
#: outside; coordinates that belong to another picture or size lie farther away.
OUTSIDE = 0.25


def list_names(folder: Path) -> list[str]:
    """Return the names of the files of a folder, sorted, without hidden ones; DataError if there is no such folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingDataError(f"no folder {folder}. Compare the root with the tree in docs/datasets.md.") from None


def by_stem(names: Iterable[str], suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, str]:
    """Map stems to file names, for files that end in one of ``suffixes`` in upper or lower case."""
    pairs = (os.path.splitext(name) for name in names)
    return {stem: stem + suffix for stem, suffix in pairs if suffix.lower() in suffixes}


def find_pictures(folder: Path, images: Iterable[str]) -> dict[str, str | None]:
    """Return the actual path of each listed picture, relative to ``folder``; None if it is missing.

    The suffix may differ from the listed one: ``.JPG`` for ``.jpg``, or ``.png`` in a lossless copy.
    """
    folders: dict[str, list[str]] = {}
    for image in dict.fromkeys(images):
        folders.setdefault(image.rpartition("/")[0], []).append(image)
    found: dict[str, str | None] = {}
    for parent, listed in folders.items():
        try:
            there = set(os.listdir(folder / parent))
        except OSError:
            there = set()
        names = {image: image.rpartition("/")[2] for image in listed}
        stems = {} if there.issuperset(names.values()) else by_stem(sorted(there))
        for image, name in names.items():
            other = name if name in there else stems.get(os.path.splitext(name)[0])
            found[image] = None if other is None else image.removesuffix(name) + other
    return found


def upright(face: FaceAnnotation, width: int, height: int) -> FaceAnnotation:
    """Map an annotation to the picture as :func:`dife_lightning.faces.images.read_image` returns it.

    Cameras may store a picture rotated and say so in its EXIF header. The size ``width`` x ``height`` that the
    annotation file states shows whether the annotation was made on the stored or on the upright picture. If both have
    that size (a half turn, a mirrored or a square picture), the upright one is assumed. DataError if the picture has
    another size.
    """
    stored_width, stored_height, orientation = frame_of(face.image)
    stored = (stored_width, stored_height)
    shown = stored[::-1] if orientation >= 5 else stored
    if shown == (width, height):
        return face
    if stored != (width, height):
        raise DataError(f"{face.image} is {shown[0]} x {shown[1]}, the annotation is of {width} x {height} pixels")
    points = _turn(face.points, stored, orientation)
    points[~face.visible] = 0
    return replace(face, points=points, box=None if face.box is None else _turn_box(face.box, stored, orientation))


def _turn(points: NDArray[np.float32], stored: tuple[int, int], orientation: int) -> NDArray[np.float32]:
    turned: NDArray[np.float32] = turn_points(torch.from_numpy(points), *stored, orientation).numpy()
    return turned


def _turn_box(box: NDArray[np.float32], stored: tuple[int, int], orientation: int) -> NDArray[np.float32]:
    corners = _turn(box.reshape(2, 2), stored, orientation)
    return np.concatenate((corners.min(0), corners.max(0)))


def check_inside(face: FaceAnnotation, width: int, height: int) -> None:
    """Raise DataError if a labelled point is farther outside a picture of ``width`` x ``height`` than ``OUTSIDE``."""
    slack = OUTSIDE * max(width, height)
    far = (face.points < -0.5 - slack) | (face.points > np.array([width, height]) - 0.5 + slack)
    rows = np.flatnonzero(far.any(1) & face.visible)
    if len(rows):
        x, y = face.points[rows[0]]
        raise DataError(
            f"point {rows[0]} lies at ({x:g}, {y:g}), far outside {face.image.name}, which is {width} x {height}"
        )
