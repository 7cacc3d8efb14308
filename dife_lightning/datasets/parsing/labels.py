"""Labelled faces as annotation tools know them: named points on pictures, read from and written to all tools' files.

A reader of a tool's files makes :class:`Labels`; :func:`labelled_table` turns them into the table of a data set. A
writer (``datasets/writing``) takes :class:`Labels`, which :func:`labels_of` makes of any data set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dife_lightning.datasets.parsing.naming import places_in, scheme_of
from dife_lightning.datasets.parsing.picture_search import find_labelled
from dife_lightning.datasets.parsing.table import FaceTable
from dife_lightning.faces.schemes import SCHEMES, Scheme

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
    """

    image: str
    points: dict[str, tuple[float, float]]
    source: str = ""
    size: tuple[int, int] = (0, 0)
    box: Box | None = None
    group: str = ""
    instance: str = ""
    occluded: set[str] = field(default_factory=set)


@dataclass
class Labels:
    """Faces of a tool's files.

    Attributes:
        faces: in the order of the files.
        names: of all points, in the file's order; by default in the order in which the faces have them.
        mirror: pairs of names that a flip exchanges; None if the file does not say so.
        notes: for each thing that was guessed, converted or passed over, how often.
    """

    faces: list[LabelledFace] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mirror: list[tuple[str, str]] | None = None
    notes: Counter[str] = field(default_factory=Counter)

    def ordered_names(self) -> list[str]:
        """Return the names of all points, those of the file first."""
        return list(dict.fromkeys([*self.names, *(name for face in self.faces for name in face.points)]))


def labelled_table(
    labels: Labels, folder: Path, scheme: str | Scheme, images: str = ""
) -> tuple[str | Scheme, FaceTable]:
    """Return the scheme (a built-in one by its name) and the table of the faces.

    Args:
        labels: of the files.
        folder: root of the data set.
        scheme: scheme whose points the file names, by name or file; empty: the file's own names are the scheme.
        images: folder of the pictures, relative to the root.

    Raises:
        DataError: the scheme has no point of a name of the file.
    """
    names = labels.ordered_names()
    known = scheme_of(scheme, names, folder, labels.mirror)
    places, count = places_in(known, names, folder, labels.notes), len(known.landmarks)
    points = np.zeros((len(labels.faces), count, 2))
    visible, occluded = np.zeros(points.shape[:2], bool), np.zeros(points.shape[:2], bool)
    for row, face in enumerate(labels.faces):
        for point, place in face.points.items():
            points[row, places[point]] = place
            visible[row, places[point]] = True
            occluded[row, places[point]] = point in face.occluded
    found = find_labelled(folder / images, [face.image for face in labels.faces], labels.notes)
    return (known.name if known.name in SCHEMES else known), FaceTable(
        folder,
        [face.source for face in labels.faces],
        folder / images,
        [found[face.image] for face in labels.faces],
        points,
        count=count,
        label="/",
        names=_face_names(labels.faces, found),
        visible=visible,
        occluded=occluded,
        boxes=[[np.nan] * 4 if face.box is None else face.box for face in labels.faces] or None,
        groups=[face.group for face in labels.faces],
        sizes=[face.size for face in labels.faces] or None,
    )


def below(path: Path, folder: Path) -> str:
    """Return a file's path from ``folder``, with forward slashes."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


def note_lines(notes: Mapping[str, int]) -> list[str]:
    """Return one line for each thing that was guessed, converted or passed over."""
    return [f"{text}: {count}" for text, count in notes.items() if count]


def _face_names(faces: Sequence[LabelledFace], found: Mapping[str, str]) -> list[str]:
    """Name a face after its picture; several faces of a picture also after their instance or number."""
    images = [found[face.image] for face in faces]
    several, seen = Counter(images), Counter[str]()
    names = []
    for image, face in zip(images, faces, strict=True):
        seen[image] += 1
        names.append(f"{image}#{face.instance or seen[image]}" if several[image] > 1 else image)
    return names
