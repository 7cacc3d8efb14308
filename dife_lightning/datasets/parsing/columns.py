"""What the columns of a table of points are: the picture, the points, the box, and whether a point is labelled."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dife_lightning.datasets.parsing.csv_files import CsvFile
from dife_lightning.errors import DataError, did_you_mean
from dife_lightning.faces.images import SUFFIXES
from dife_lightning.faces.point_names import plain

#: Names of the column of pictures, without case and separators; the first one that is there is taken.
_IMAGE = (
    "image", "filename", "file", "img", "imagename", "imagefile", "imagepath", "imgname", "imgpath", "filepath", "path",
    "picture", "photo", "imageid", "frame"
)  # fmt: skip
#: Names of the column, or of the field, of the animal or person, likewise.
_SUBJECT = (
    "subject", "subjectid", "individual", "individualid", "identity", "identityid", "animal", "animalid", "person",
    "personid"
)  # fmt: skip
_NUMBERED = re.compile(r"(?i)([xy])[_ ]?(\d+)")
_NAMED = re.compile(r"(.+?)[_\-. ]+([xyXY])|(.*[a-z0-9])([XY])")
_AXIS_FIRST = re.compile(r"([xyXY])[_\-. ]+(.+)")
_FLAG = r"(?:v|vis|visible|visibility)"
_SEEN = re.compile(rf"(?i)(.+?)[_\-. ]+{_FLAG}")
_SEEN_FIRST = re.compile(rf"(?i){_FLAG}[_\-. ]*(\d+)|{_FLAG}[_\-. ]+(.+)")
_BOX_NAMES = ("box", "bbox", "boundingbox")
#: Columns of a box after its name: two corners, or a corner and the size.
_CORNERS = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))


@dataclass(frozen=True)
class Columns:
    """Places of columns in a table.

    Attributes:
        image: of the picture.
        names: of the points; empty if they are numbered.
        points: (x, y) of each point.
        seen: of whether each point is labelled, None where there is no such column.
        box: of its four numbers; empty if there is none.
        box_has_size: whether the third and fourth number of the box are width and height.
        first: number of the first point, if they are numbered.
    """

    image: int
    names: Sequence[str]
    points: Sequence[tuple[int, int]]
    seen: Sequence[int | None]
    box: Sequence[int]
    box_has_size: bool
    first: int = 0


def find_columns(where: str, content: CsvFile) -> Columns:
    """Return which columns of a table are what.

    DataError if there is none of pictures or of points, or a point has only one of x and y; ``where`` is the file and
    row for messages.
    """
    columns = content.columns
    box, has_size = find_box(columns)
    taken = set(box)
    numbered = {(m[1].lower(), int(m[2])): k for k, m in _matches(_NUMBERED, columns, taken)}
    image = find_image(where, content)
    if numbered:
        numbers = {number for _, number in numbered}
        first = min(numbers) if min(numbers) == 1 and len(numbers) == max(numbers) else 0
        # The loop reports the column of a missing number.
        wanted = [str(k) for k in range(first, min(first + len(numbers), 1 + max(numbers)))]
        places = {f"{axis}{number}": k for (axis, number), k in numbered.items()}
        points = [(_place(where, places, f"x{k}"), _place(where, places, f"y{k}")) for k in wanted]
        return Columns(image, (), points, _seen(columns, taken, wanted), box, has_size, first)
    named = _named(columns, taken | {image})
    names = list(dict.fromkeys(name for name, _ in named))
    if not names:
        raise DataError(f"{where}: no points; expected columns x0, y0, ... or <point>_x, <point>_y.")
    places = {f"{name}_{axis}": k for (name, axis), k in named.items()}
    points = [(_place(where, places, f"{name}_x"), _place(where, places, f"{name}_y")) for name in names]
    return Columns(image, names, points, _seen(columns, taken, names), box, has_size)


def _seen(columns: Sequence[str], taken: set[int], names: Sequence[str]) -> list[int | None]:
    """Return the columns of the visibility of points: ``nose_v``, ``v_nose``, or ``v0`` for the point number 0."""
    seen = {m[1] or m[2]: k for k, m in _matches(_SEEN_FIRST, columns, taken)}
    seen |= {m[1]: k for k, m in _matches(_SEEN, columns, taken)}
    return [seen.get(name) for name in names]


def _matches(pattern: re.Pattern[str], columns: Sequence[str], taken: set[int]) -> list[tuple[int, re.Match[str]]]:
    found = ((k, pattern.fullmatch(name)) for k, name in enumerate(columns) if k not in taken)
    return [(k, match) for k, match in found if match]


def _named(columns: Sequence[str], taken: set[int]) -> dict[tuple[str, str], int]:
    """Return the columns of points by name and axis: ``nose_x``, ``noseX`` or, where both are there, ``x_nose``."""
    found = {(m[1] or m[3], (m[2] or m[4]).lower()): k for k, m in _matches(_NAMED, columns, taken)}
    if not found:
        found = {(m[2], m[1].lower()): k for k, m in _matches(_AXIS_FIRST, columns, taken)}
    return {key: k for key, k in found.items() if plain(key[0]) not in _BOX_NAMES}


def _place(where: str, places: dict[str, int], column: str) -> int:
    if column not in places:
        raise DataError(f"{where}: no column '{column}'; expected x and y of each point.")
    return places[column]


def find_image(where: str, content: CsvFile) -> int:
    """Return the column of pictures: by its name, or else a first one or ``name`` that holds names of image files."""
    forms = [plain(name) for name in content.columns]
    for name in _IMAGE:
        if name in forms:
            return forms.index(name)
    likely = [k for k, form in enumerate(forms) if form == "name" or (k == 0 and not form)]
    for k in likely:
        cells = [row[k] for _, row in content.rows if k < len(row)]
        if cells and all(os.path.splitext(cell)[1].lower() in SUFFIXES for cell in cells):
            return k
    known = [name for name in content.columns if name]
    raise DataError(f"{where}: no column 'image'. {did_you_mean('image', known)}")


def find_subject(names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that states the animal or person; None if there is none."""
    forms = {plain(name): name for name in names}
    return next((forms[form] for form in _SUBJECT if form in forms), None)


def find_box(columns: Sequence[str]) -> tuple[list[int], bool]:
    """Return the four columns of the box, and whether the last two are its size.

    ``face_x, face_y, face_w, face_h`` is a box as well, since a point has no width.
    """
    forms = [plain(name) for name in columns]
    sized = [form.removesuffix("width").removesuffix("w") for form in forms if form.endswith(("w", "width"))]
    for name in (*_BOX_NAMES, *(one for one in sized if one)):
        for parts in (*_CORNERS, *_SIZES):
            wanted = [name + part for part in parts]
            if all(one in forms for one in wanted):
                return [forms.index(one) for one in wanted], parts in _SIZES
    return [], False
