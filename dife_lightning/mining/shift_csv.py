"""Shifts of faces as CSV in the published form: a line ``img,nme``, then the name and the shift of each face.

The header may be missing when a file is read.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from dife_lightning.errors import DataError, MissingDataError, printable
from dife_lightning.utils.files import atomic_write

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
    """Read name -> shift, in the order of the file.

    Raises:
        MissingDataError: no such file.
        DataError: it is not CSV or holds no face; or a line is not a name and a number of at least 0, or names a face
            for the second time. The message says which line.
    """
    path = Path(path)
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
