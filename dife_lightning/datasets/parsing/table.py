"""Annotated faces as a table of columns, the checks that every table must pass, and how readers report faults.

Columns make it fast to parse, filter and send 200,000 faces to worker processes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceAnnotation
from dife_lightning.faces.schemes import SCHEMES, Scheme
from dife_lightning.utils.notes import many, some

#: What is wrong with a face whose points are not in pixels.
RELATIVE = (
    "all points lie between 0 and 1, relative to the size of the picture, it seems; expected pixels: multiply x by the "
    "width and y by the height"
)
#: How an error about one face ends.
OR_SKIP = "or skip such faces with --skip-broken (in Python: skip_broken=True)."


class LeftOut(NamedTuple):
    """A skipped face: the file and row that it was read from, and what is wrong with it."""

    source: str
    reason: str


class Fault(Exception):
    """What is wrong with one face, see :meth:`Faults.at`."""


class Faults:
    """Collects faces that cannot be used; unless they are to be skipped, the first one is an error.

    Args:
        skip: continue without such faces; ``left_out`` lists them.

    It also collects ``notes``: one line for each kind of thing that was guessed, converted or passed over, with a count
    and the option that changes it.
    """

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []

    def say(self, text: str) -> None:
        """Add a note; the data set prints it once it is read."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, source: str, reason: str) -> None:
        """Report a face; DataError unless faults are skipped.

        Args:
            source: file and row.
            reason: what was found and what was expected, without a full stop.
        """
        if not self.skip:
            raise DataError(f"{source}: {reason}. Fix it, {OR_SKIP}")
        self.left_out.append(LeftOut(source, reason))

    def add_all(self, found: Iterable[tuple[str, str]]) -> None:
        """Report faces with the same fault, each as ``add`` does; the error is of the first and counts them."""
        faces = list(found)
        more = f" (the first of {len(faces)} such faces)" if len(faces) > 1 and not self.skip else ""
        for source, reason in faces:
            self.add(source, reason + more)

    @contextmanager
    def at(self, source: str) -> Iterator[None]:
        """Report a :class:`Fault` that the block raises as one of ``source``."""
        try:
            yield
        except Fault as fault:
            self.add(source, str(fault))


class FaceTable(Sequence[FaceAnnotation]):
    """N faces of K points each, column by column. Arguments may be lists, attributes are arrays.

    Args:
        file: the file that the faces were read from, or the folder of many such files.
        keys: (N) row, number or file of each face.
        folder: of the pictures.
        images: (N) pictures, relative to ``folder``, with forward slashes.
        points: (N, K, 2) float32, x then y, pixels with centres at integers.
        count: number K of points.
        label: text between the file and the key in messages.
        names: (N) of the faces; by default the pictures.
        visible: (N, K) bool; by default all.
        occluded: (N, K) bool: labelled, but hidden in the picture; None if the file does not say so.
        boxes: (N, 4) float32 x0, y0, x1, y1, NaN for a face without a box; None if no face has one.
        groups: (N) species, categories or subsets; or None.
        subjects: (N) animals or persons, empty where not known; or None.
        sizes: (N, 2) width and height of the pictures as the annotation file states them, 0 if it does not; or None.
        search: pictures may lie elsewhere below ``folder`` (see ``find_pictures``); for files of annotation tools.
    """

    def __init__(
        self,
        file: Path,
        keys: Sequence[int | str],
        folder: Path,
        images: Sequence[str],
        points: ArrayLike,
        *,
        count: int,
        label: str = ", row ",
        names: Sequence[str] | None = None,
        visible: ArrayLike | None = None,
        occluded: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        groups: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
        sizes: ArrayLike | None = None,
        search: bool = False,
    ) -> None:
        self.search = search
        shape = (len(images), count)
        self.file, self.label, self.folder, self.keys, self.images = file, label, folder, list(keys), list(images)
        self.names = list(images if names is None else names)
        with np.errstate(over="ignore"):  # numbers that are too large become infinite, which is reported
            self.points = np.asarray(points, np.float32).reshape(*shape, 2)
        self.visible = np.ones(shape, bool) if visible is None else np.asarray(visible, bool).reshape(shape)
        self.occluded = None if occluded is None else np.asarray(occluded, bool).reshape(shape)
        self.boxes = None if boxes is None else np.asarray(boxes, np.float32).reshape(-1, 4)
        self.groups = None if groups is None else list(groups)
        self.subjects = None if subjects is None else list(subjects)
        self.sizes = None if sizes is None else np.asarray(sizes, np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> FaceAnnotation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FaceAnnotation]: ...
    def __getitem__(self, index: int | slice) -> FaceAnnotation | Sequence[FaceAnnotation]:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        box = None if self.boxes is None or np.isnan(self.boxes[index]).any() else self.boxes[index].copy()
        return FaceAnnotation(
            name=self.names[index],
            image=self.folder / self.images[index],
            points=self.points[index].copy(),
            visible=self.visible[index].copy(),
            box=box,
            group="" if self.groups is None else self.groups[index],
            source=self.source(index),
            occluded=None if self.occluded is None else self.occluded[index].copy(),
            subject="" if self.subjects is None else self.subjects[index],
        )

    def source(self, index: int) -> str:
        """Return the place that face ``index`` was read from, for messages."""
        return f"{self.file}{self.label}{self.keys[index]}"

    def take(self, rows: Iterable[int]) -> FaceTable:
        """Return the table of the faces ``rows``, in that order."""
        chosen, table = list(rows), copy.copy(self)
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray):
                setattr(table, name, column[chosen])
            elif isinstance(column, list | tuple):
                setattr(table, name, [column[row] for row in chosen])
        return table

    def changed(self, **columns: Any) -> FaceTable:
        """Return the table with other columns."""
        table = copy.copy(self)
        vars(table).update(columns)
        return table

    def where(self, keep: Sequence[bool] | NDArray[np.bool_]) -> FaceTable:
        """Return the table of the faces for which ``keep`` (N) is true."""
        rows = np.flatnonzero(keep).tolist()
        return self if len(rows) == len(self) else self.take(rows)


def check_count(where: object, scheme: str | Scheme, found: int) -> None:
    """Raise DataError if a file has another number of points than its scheme; an unknown scheme may have any."""
    known = SCHEMES.get(scheme) if isinstance(scheme, str) else scheme
    if known is not None and len(known.landmarks) != found:
        expected = len(known.landmarks)
        raise DataError(f"{where} has {found} points, scheme '{known.name}' has {expected}. Give the file's scheme.")


def sound_faces(table: FaceTable, faults: Faults) -> FaceTable:
    """Return the faces that have finite points in pixels, are listed once, and have a picture; report the others."""
    for check in (_without_unfinite, _without_relative, _without_repeats, _without_missing):
        table = check(table, faults)
    return table


def _without_unfinite(table: FaceTable, faults: Faults) -> FaceTable:
    bad = table.visible & ~np.all(np.isfinite(table.points), axis=-1)
    rows = np.any(bad, axis=-1)
    for row in np.flatnonzero(rows).tolist():
        point = int(np.argmax(bad[row]))
        x, y = table.points[row, point]
        faults.add(table.source(row), f"point {point} is ({x}, {y}), expected finite numbers")
    return table.where(~rows)


def _without_relative(table: FaceTable, faults: Faults) -> FaceTable:
    """Report faces that are smaller than a pixel: their points are relative to the size of the picture."""
    rows = are_relative(table)
    for row in np.flatnonzero(rows).tolist():
        faults.add(table.source(row), RELATIVE)
    return table.where(~rows)


def are_relative(table: FaceTable) -> NDArray[np.bool_]:
    """Return for each face (N) whether all its points, two or more, lie between 0 and 1."""
    inside = np.all((table.points >= 0) & (table.points <= 1), axis=-1)
    whole = np.all(table.points % 1 == 0, axis=-1)
    rows: NDArray[np.bool_] = (
        (table.visible.sum(-1) > 1) & np.all(inside | ~table.visible, -1) & np.any(~whole & table.visible, -1)
    )
    return rows


def _without_repeats(table: FaceTable, faults: Faults) -> FaceTable:
    """Report faces that share their name, or their picture and all points, with an earlier one."""
    if len(set(table.names)) == len(set(table.images)) == len(table):
        return table
    first: dict[object, int] = {}
    repeated = set()
    for row in range(len(table)):
        whole = (table.images[row], table.points[row].tobytes())
        for key, what in ((table.names[row], f"'{table.names[row]}'"), (whole, "this picture with the same points")):
            if row not in repeated and first.setdefault(key, row) != row:
                repeated.add(row)
                faults.add(table.source(row), f"{what} is listed twice (first: {table.keys[first[key]]})")
    return table.where([row not in repeated for row in range(len(table))])


def _without_missing(table: FaceTable, faults: Faults) -> FaceTable:
    """Report faces without a picture; give the others the name that the picture has on disk."""
    found = find_pictures(table.folder, table.images, table.search)
    for row, image in enumerate(table.images):
        if len(found[image]) > 1:
            alike = f"{len(found[image])} pictures may be {image} ({some(found[image])})"
            faults.add(table.source(row), f"{alike}; expected the one that is meant, with its folder")
    faults.add_all(
        (table.source(row), f"no picture {table.folder / image}; expected it there")
        for row, image in enumerate(table.images)
        if not found[image]
    )
    clear = {image: paths[0] for image, paths in found.items() if len(paths) == 1}
    moved = [
        f"{image} is {path}" for image, path in clear.items() if path.rpartition("/")[0] != image.rpartition("/")[0]
    ]
    if moved:
        faults.say(f"{many(len(moved), 'picture')} found elsewhere below {table.folder}: {some(moved, 1)}")
    table = table.where([image in clear for image in table.images])
    return table.changed(images=[clear[image] for image in table.images])
