"""Points in ``.pts`` files beside their pictures, as 300-W and AnimalWeb have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.faults import Fault, Faults
from dife_lightning.datasets.parsing.pictures import by_stem, list_names
from dife_lightning.datasets.parsing.table import FaceTable
from dife_lightning.datasets.parsing.text import parse_numbers, read_text
from dife_lightning.errors import DataError


class PtsFace(NamedTuple):
    """A picture and its points, relative to a root folder, and the group of the face."""

    points: str
    image: str
    group: str


def list_faces(root: Path, below: str = "", group: Callable[[str], str] | None = None) -> list[PtsFace]:
    """List the ``.pts`` files of one folder with the pictures of the same stem, in the order of their names.

    Args:
        root: to which the result is relative.
        below: folder in it, with forward slashes; empty for the root itself.
        group: gives the group of a face from the stem of its files; by default it is the first folder of ``below``.

    Raises:
        DataError: there is no such folder.
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
    """Read the points of faces.

    Args:
        root: folder of the faces.
        faces: from :func:`list_faces`.
        count: of points in each file.
        first_pixel: coordinate that the files give the centre of the first pixel: 1 in the manner of MATLAB, else 0.
        faults: is told of files of another form.
    """
    kept, points = [], []
    for face in faces:
        try:
            points.append(read_points(root / face.points, count))
            kept.append(face)
        except Fault as fault:
            faults.add(f"{root}/{face.points}", str(fault))
    stacked = np.array(points, dtype=np.float32).reshape(len(points), count, 2) - np.float32(first_pixel)
    return FaceTable(
        file=root,
        label="/",
        keys=[face.points for face in kept],
        folder=root,
        images=[face.image for face in kept],
        names=[face.image for face in kept],
        points=stacked,
        visible=np.ones(stacked.shape[:2], dtype=bool),
        groups=[face.group for face in kept],
    )


def read_points(path: Path, count: int) -> NDArray[np.float64]:
    """Return the (count, 2) numbers of a ``.pts`` file as they stand.

    Raises:
        Fault: it cannot be read, or has another form.
    """
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
    values, reason = parse_numbers(line.split(), 2)
    if reason is not None:
        raise Fault(f"row {number}: {reason}")
    return values
