"""Shifts of faces as CSV in the published form: a line ``img,nme``, then the name and the shift of each face.

The header may be missing when a file is read. Names are those of the data set (``koala_3.jpg``); those of a training
start with the domain (``animalweb/koala_3.jpg``), and :func:`match_shifts` finds one by the other.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dife_lightning.errors import DataError, MissingDataError, printable
from dife_lightning.faces.images import SUFFIXES
from dife_lightning.utils.files import atomic_write
from dife_lightning.utils.notes import note, some
from dife_lightning.weights.user_paths import user_path

HEADER = ("img", "nme")


def write_shifts(path: str | Path, shifts: Mapping[str, float]) -> None:
    """Write name -> shift, atomically and exactly: reading gives the same numbers.

    DataError for a face whose shift is not a number of at least 0, such as NaN.
    """
    for name, shift in shifts.items():
        if not (math.isfinite(shift) and shift >= 0):
            raise DataError(f"face '{printable(name)}' has the shift {shift}; expected 0 or more: has it a box?")
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows((name, repr(float(shift))) for name, shift in shifts.items())


def read_shifts(path: str | Path) -> dict[str, float]:
    """Read name -> shift, in the order of the file, which may be named ``own/...`` as in ``paths.yaml``.

    Raises:
        MissingDataError: no such file.
        DataError: it is not CSV or holds no face; or a line is not a name and a number of at least 0, or names a face
            for the second time. The message says which line.
    """
    path = user_path(path)
    if not path.is_file():
        raise MissingDataError(f"no shifts at {path}: give the CSV file with the lines img,nme")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            shifts = _parse(((reader.line_num, row) for row in reader if row), path)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        why = printable(" ".join(str(error).split()))
        raise DataError(f"{path} cannot be read as a table ({why}); expected CSV with the lines img,nme") from None
    if not shifts:
        raise DataError(f"{path} holds no face; expected lines img,nme")
    return shifts


def _parse(rows: Iterable[tuple[int, list[str]]], path: Path) -> dict[str, float]:
    shifts: dict[str, float] = {}
    lines: dict[str, int] = {}
    for place, (line, row) in enumerate(rows):
        if place == 0 and tuple(cell.strip().lower() for cell in row) == HEADER:
            continue
        name, shift = _face(row, f"{path}, line {line}")
        if name in shifts:
            found = f"'{printable(name)}' for the second time (first: line {lines[name]})"
            raise DataError(f"{path}, line {line}: {found}; expected each face once")
        shifts[name], lines[name] = shift, line
    return shifts


def _face(row: list[str], where: str) -> tuple[str, float]:
    try:
        name, text = row
        shift = float(text)
    except ValueError:
        raise DataError(
            f"{where}: '{printable(','.join(row))[:80]}' found; expected img,nme: a name and a number"
        ) from None
    if not name.strip() or not (math.isfinite(shift) and shift >= 0):
        raise DataError(
            f"{where}: face '{printable(name)[:80]}' with shift {text.strip()[:20]}; expected a name and 0 or more"
        )
    return name, shift


def match_shifts(names: Sequence[str], shifts: Mapping[str, float], what: str = "shifts") -> dict[str, float]:
    """Return the shifts of faces by the faces' names, as far as they are found.

    A row belongs to the face of its name. If there is none, it belongs to the only face with the same file name, the
    folders of one of them being the last ones of the other, with or without the picture's suffix: ``koala_3.jpg`` and
    ``koala_3`` to ``animalweb/koala_3.jpg``. Nothing is chosen among several. Unless all names are equal, a note counts
    faces and rows that are without the other.

    Args:
        names: of the faces.
        shifts: name -> shift, as :func:`read_shifts` returns it.
        what: the shifts, in the note.
    """
    rows = {name: name for name in names if name in shifts}
    left = [name for name in names if name not in rows]
    rows |= _matched(left, [row for row in shifts if row not in rows])
    lacking = [name for name in names if name not in rows]
    if left or len(rows) < len(shifts):
        missing = f" ({some(lacking)})" if lacking else ""
        note(
            f"{what}: {len(rows)} of {len(names)} faces found by name, {len(lacking)} not{missing}; "
            f"{len(shifts) - len(rows)} of {len(shifts)} rows are of other faces"
        )
    return {name: shifts[rows[name]] for name in names if name in rows}


def _matched(names: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    """Return name -> row for faces and rows that have only each other."""
    by_file = defaultdict(list)
    for row in rows:
        parts = _parts(row)
        by_file[parts[-1]].append((parts, row))
    found = {}
    for name in names:
        parts = _parts(name)
        fitting = [row for other, row in by_file.get(parts[-1], ()) if _ends_alike(parts, other)]
        if len(fitting) == 1:
            found[name] = fitting[0]
    times = Counter(found.values())
    return {name: row for name, row in found.items() if times[row] == 1}


def _parts(name: str) -> tuple[str, ...]:
    """Return folders and file of a name, the file without the suffix of a picture."""
    *folders, file = name.replace("\\", "/").split("/")
    stem, suffix = os.path.splitext(file)
    return (*folders, stem if suffix.lower() in SUFFIXES else file)


def _ends_alike(a: Sequence[str], b: Sequence[str]) -> bool:
    common = min(len(a), len(b))
    return a[-common:] == b[-common:]
