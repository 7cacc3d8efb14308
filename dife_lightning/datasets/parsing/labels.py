"""Labelled faces as annotation tools know them: named points on pictures, read from and written to all tools' files.

A reader of a tool's files makes :class:`Labels`; :func:`labelled_table` turns them into the table of a data set. A
writer (``datasets/writing``) takes :class:`Labels`, which :func:`labels_of` makes of any data set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dife_lightning.datasets.parsing.own_points import GivenScheme, in_order, settle_scheme, without_zeros
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.errors import DataError
from dife_lightning.faces.own_schemes import describe, scheme_from_names
from dife_lightning.faces.point_names import plain
from dife_lightning.faces.schemes import SCHEMES, Scheme
from dife_lightning.utils.notes import some

Box = tuple[float, float, float, float]


@dataclass
class LabelledFace:
    """One face on a picture.

    Attributes:
        image: the picture as the file has it, with forward slashes.
        points: x and y by name, pixels of the picture as viewers show it; only points that are labelled.
        source: file and row below the root, for messages.
        size: width and height of the picture in pixels as the file states them; 0 if it does not.
        box: x0, y0, x1, y1.
        group: category or the like; may be empty.
        instance: what tells this face from others of its picture: a group id, an individual; may be empty.
        occluded: names of points that are labelled but hidden in the picture.
        subject: the animal or person; empty where it is not known.
    """

    image: str
    points: dict[str, tuple[float, float]]
    source: str = ""
    size: tuple[int, int] = (0, 0)
    box: Box | None = None
    group: str = ""
    instance: str = ""
    occluded: set[str] = field(default_factory=set)
    subject: str = ""


@dataclass
class Labels:
    """Faces of a tool's files.

    Attributes:
        faces: in the order of the files.
        names: of all points, in the file's order; by default in the order in which the faces have them.
        mirror: pairs of names that a flip exchanges; None if the file does not say so.
        named: whether the file names its points; if not, ``names`` only tell them apart.
        notes: for each thing that was guessed, converted or passed over, how often.
    """

    faces: list[LabelledFace] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mirror: list[tuple[str, str]] | None = None
    named: bool = True
    notes: Counter[str] = field(default_factory=Counter)

    def ordered_names(self) -> list[str]:
        """Return the names of all points, those of the file first."""
        return list(dict.fromkeys([*self.names, *(name for face in self.faces for name in face.points)]))


def labelled_table(
    labels: Labels,
    folder: Path,
    given: GivenScheme,
    faults: Faults,
    images: str = "",
    keep_zeros: bool = True,
) -> tuple[str | Scheme, FaceTable]:
    """Return the scheme (a built-in one by its name) and the table of the faces; the notes go to ``faults``.

    Args:
        labels: of the files.
        folder: root of the data set.
        given: scheme that the user gave; by default the file's own names are the scheme.
        faults: reported so far.
        images: folder of the pictures, relative to the root.
        keep_zeros: whether points at exactly (0, 0) and (-1, -1) are labelled.

    Raises:
        DataError: the file's points are not those of the scheme.
    """
    _join_spellings(labels)
    names = labels.ordered_names()
    scheme, order = _settled(labels, names, folder, given, faults)
    where, shape = {name: k for k, name in enumerate(names)}, (len(labels.faces), len(names))
    points, visible, occluded = np.zeros((*shape, 2)), np.zeros(shape, bool), np.zeros(shape, bool)
    for row, face in enumerate(labels.faces):
        face.image = face.image.replace("\\", "/")
        for name, place in face.points.items():
            points[row, where[name]], visible[row, where[name]] = place, True
            occluded[row, where[name]] = name in face.occluded
    visible = without_zeros(points, visible, keep_zeros, faults)
    for line in note_lines(labels.notes):
        faults.say(line)
    return scheme.name if scheme.name in SCHEMES else scheme, FaceTable(
        folder,
        [face.source for face in labels.faces],
        folder / images,
        [face.image for face in labels.faces],
        in_order(points, order, 1),
        count=len(order),
        label="/",
        names=_face_names(labels.faces),
        visible=in_order(visible, order, 1),
        occluded=in_order(occluded, order, 1),
        boxes=[[np.nan] * 4 if face.box is None else face.box for face in labels.faces] or None,
        groups=[face.group for face in labels.faces],
        sizes=[face.size for face in labels.faces] or None,
        search=True,
    )


def _join_spellings(labels: Labels) -> None:
    """Give one name to points whose names differ in case or separators alone, as where people type them.

    Names that a face has side by side are different points.
    """
    first: dict[str, str] = {}
    for name in labels.ordered_names():
        first.setdefault(plain(name), name)
    other = {name: first[plain(name)] for name in labels.ordered_names() if first[plain(name)] != name}
    beside = {name for face in labels.faces for name in face.points if other.get(name) in face.points}
    other = {name: one for name, one in other.items() if name not in beside and plain(name)}
    if not other:
        return
    for face in labels.faces:
        labels.notes[f"points with another spelling ({some([f'{a} is {b}' for a, b in other.items()])})"] += sum(
            name in other for name in face.points
        )
        face.points = {other.get(name, name): place for name, place in face.points.items()}
        face.occluded = {other.get(name, name) for name in face.occluded}
    labels.names = [name for name in labels.names if name not in other]


def _settled(
    labels: Labels, names: Sequence[str], where: Path, given: GivenScheme, faults: Faults
) -> tuple[Scheme, list[int]]:
    """Return what :func:`settle_scheme` does; the file's own mirror pairs, if it has them, are those of its scheme."""
    if not names:
        first = f" (the first: {faults.left_out[0].source}: {faults.left_out[0].reason})" if faults.left_out else ""
        raise DataError(f"{where}: no labelled points, {len(faults.left_out)} skipped{first}; check the files.")
    if given or labels.mirror is None:
        return settle_scheme(where, given, names if labels.named else (), len(names), faults)
    scheme = scheme_from_names(names, f"own-{len(names)}", mirror=labels.mirror)
    faults.say(f"{describe(scheme)} (change it with --scheme FILE.yaml)")
    return scheme, list(range(len(names)))


#: What Python raises where a value of a file is taken apart and has another form.
OTHER_FORM = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


@contextmanager
def expecting(form: str) -> Iterator[None]:
    """Turn what the block raises for a value of another form than ``form`` into a Fault."""
    try:
        yield
    except OTHER_FORM as error:
        raise Fault(f"another form, expected {form}") from error


def below(path: Path, folder: Path) -> str:
    """Return a file's path from ``folder``, with forward slashes."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


def note_lines(notes: Mapping[str, int]) -> list[str]:
    """Return one line for each thing that was guessed, converted or passed over."""
    return [f"{text}: {count}" for text, count in notes.items() if count]


def _face_names(faces: Sequence[LabelledFace]) -> list[str]:
    """Name a face after its picture; several faces of a picture also after their instance or number."""
    several, seen = Counter(face.image for face in faces), Counter[str]()
    names = []
    for face in faces:
        seen[face.image] += 1
        names.append(f"{face.image}#{face.instance or seen[face.image]}" if several[face.image] > 1 else face.image)
    return names
