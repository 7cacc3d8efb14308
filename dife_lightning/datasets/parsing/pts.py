"""Points in ``.pts`` files beside their pictures, as in 300-W and AnimalWeb."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.pictures import by_stem, list_names
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.datasets.parsing.text import parse_numbers, read_text
from dife_lightning.errors import DataError


class PtsFace(NamedTuple):
    """Files of the points and of the picture of a face, relative to a root folder, and its group."""

    points: str
    image: str
    group: str


def list_faces(root: Path, below: str = "", group: Callable[[str], str] | None = None) -> list[PtsFace]:
    """List the ``.pts`` files of the folder ``root/below`` with the pictures of the same stem, sorted by name.

    ``group`` returns the group of a face from the stem of its files; by default it is the first folder of ``below``.
    """
    names = list_names(root / below)
    pictures, prefix = by_stem(names), f"{below}/" if below else ""
    return [
        PtsFace(
            prefix + file,
            prefix + pictures.get(stem, f"{stem}.jpg"),
            below.split("/")[0] if group is None else group(stem),
        )
        for stem, file in by_stem(names, (".pts",)).items()
    ]


def read_faces(root: Path, faces: Iterable[PtsFace], count: int, first_pixel: int, faults: Faults) -> FaceTable:
    """Read the points of ``faces``, ``count`` in each file.

    ``first_pixel`` is the coordinate of the centre of the first pixel in the files: 1 as in MATLAB, else 0.
    """
    sound, points = [], []
    for face in faces:
        with faults.at(f"{root}/{face.points}"):
            points.append(read_points(root / face.points, count))
            sound.append(face)
    files, images, groups = ([face[k] for face in sound] for k in range(3))
    shifted = np.array(points, dtype=np.float32) - np.float32(first_pixel)
    return FaceTable(root, files, root, images, shifted, count=count, label="/", groups=groups)


def read_points(path: Path, count: int) -> NDArray[np.float64]:
    """Return the (count, 2) numbers of a ``.pts`` file, unchanged; Fault if it has another form."""
    try:
        head, opened, rest = read_text(path).partition("{")
    except DataError as error:
        raise Fault(str(error).rstrip(".")) from None
    body, closed, _ = rest.partition("}")
    if not opened or not closed:
        raise Fault("no { and } around the points; expected a .pts file")
    stated = re.search(r"n_points\s*:\s*(\d+)", head)
    if stated and int(stated[1]) != count:
        raise Fault(f"n_points is {stated[1]}, expected {count}")
    lines = enumerate(body.split("\n"), head.count("\n") + 1)
    rows = [_point(number, line) for number, line in lines if line.strip()]
    if len(rows) != count:
        raise Fault(f"{len(rows)} points, expected {count}")
    return np.array(rows, dtype=np.float64)


def _point(number: int, line: str) -> list[float]:
    try:
        return parse_numbers(line.split(), 2)
    except Fault as fault:
        raise Fault(f"row {number}: {fault}") from None
