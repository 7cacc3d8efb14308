"""Finds the pictures of a data set, rotates annotations as EXIF headers say, and checks that points fit pictures."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray

from dife_lightning.errors import DataError, MissingDataError
from dife_lightning.faces.image_info import frame_of
from dife_lightning.faces.images import SUFFIXES, walk_files
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


def find_pictures(folder: Path, images: Iterable[str], search: bool = False) -> dict[str, list[str]]:
    """Return the paths, relative to ``folder``, that each listed picture may have: one if it is clear, none if missing.

    The suffix may differ from the listed one: ``.JPG`` for ``.jpg``, or ``.png`` in a lossless copy. So may upper and
    lower case, the Unicode form, and ``%20`` for a blank, where one file fits. With ``search``, pictures of a folder in
    which none of those listed is found are looked for below ``folder``, by as many of their last parts as agree.
    """
    folders: dict[str, list[str]] = {}
    for image in dict.fromkeys(images):
        folders.setdefault(image.rpartition("/")[0], []).append(image)
    found: dict[str, list[str]] = {}
    for parent, listed in folders.items():
        here = _find_here(folder / parent, listed)
        found |= {image: [image.removesuffix(_name(image)) + name for name in here[image]] for image in listed}
    if search:
        lost = [parent for parent, listed in folders.items() if not any(found[image] for image in listed)]
        found |= _find_below(folder, [image for parent in lost for image in folders[parent]])
    return found


def _find_here(folder: Path, images: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of one folder that pictures listed in it may be."""
    try:
        there = set(os.listdir(folder))
    except OSError:
        there = set()
    if there.issuperset(map(_name, images)):
        return {image: [_name(image)] for image in images}
    stems: dict[str, list[str]] = {}
    for name in sorted(there):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            stems.setdefault(stem, []).append(name)
    folded = _by_folded(sorted(there))
    found = {}
    for image in images:
        name = _name(image)
        other = [name] if name in there else folded.get(_fold(name)) or stems.get(os.path.splitext(name)[0])
        found[image] = other or stems.get(name) or _alike(folded, name)
    return found


def _find_below(folder: Path, images: Sequence[str]) -> dict[str, list[str]]:
    """Return the files anywhere below ``folder`` of which as many last parts as possible are those of a picture."""
    below = [path.relative_to(folder).as_posix() for path in walk_files(folder)] if images else []
    folded: dict[str, list[str]] = {}
    for name, paths in _by_folded([_name(path) for path in below], below).items():
        folded.setdefault(name, []).extend(paths)
    found = {}
    for image in images:
        alike = _alike(folded, _name(image))
        common = [_common_parts(image, path) for path in alike]
        found[image] = [path for path, count in zip(alike, common, strict=True) if count == max(common)]
    return found


def _common_parts(one: str, other: str) -> int:
    """Return how many last parts two paths have in common."""
    parts = zip(reversed(_fold(one).split("/")[:-1]), reversed(_fold(other).split("/")[:-1]), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))


def _by_folded(names: Iterable[str], paths: Iterable[str] | None = None) -> dict[str, list[str]]:
    """Map names of files without what may differ, with and without suffix, to them (or to their ``paths``)."""
    folded: dict[str, list[str]] = {}
    names = list(names)
    for name, path in zip(names, names if paths is None else paths, strict=True):
        stem, suffix = os.path.splitext(_fold(name))
        folded.setdefault(_fold(name), []).append(path)
        if suffix in SUFFIXES:
            folded.setdefault(f"{stem}.*", []).append(path)
    return folded


def _alike(folded: Mapping[str, list[str]], name: str) -> list[str]:
    plain = _fold(name)
    stem, suffix = os.path.splitext(plain)
    return folded.get(plain) or folded.get(f"{stem if suffix in SUFFIXES else plain}.*", [])


def _fold(name: str) -> str:
    """Return a name without what may differ: case, Unicode form, ``%20`` and the query of a web address."""
    return unicodedata.normalize("NFC", unquote(name.partition("?")[0])).casefold()


def _name(path: str) -> str:
    return path.rpartition("/")[2]


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
    points = turn(face.points, stored, orientation)
    points[~face.visible] = 0
    return replace(face, points=points, box=None if face.box is None else turn_box(face.box, stored, orientation))


def sizes_exchanged(face: FaceAnnotation, width: int, height: int) -> bool:
    """Return whether an annotation states the height of its picture as width and the width as height.

    Its points must then fit the picture as it is. DataError if the picture's header cannot be read.
    """
    stored_width, stored_height, orientation = frame_of(face.image)
    if orientation >= 5 or width == height or (stored_width, stored_height) != (height, width):
        return False
    try:
        check_inside(face, stored_width, stored_height)
    except DataError:
        return False
    return True


def turn(points: NDArray[np.float32], stored: tuple[int, int], orientation: int) -> NDArray[np.float32]:
    """Map (K, 2) points of a stored picture to the picture as its EXIF ``orientation`` shows it."""
    turned: NDArray[np.float32] = turn_points(torch.from_numpy(points), *stored, orientation).numpy()
    return turned


def turn_box(box: NDArray[np.float32], stored: tuple[int, int], orientation: int) -> NDArray[np.float32]:
    """Map a box (4,) as :func:`turn` does."""
    corners = turn(box.reshape(2, 2), stored, orientation)
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
