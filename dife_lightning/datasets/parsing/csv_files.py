"""CSV files as programs write them: commas, semicolons or tabs, decimal commas, UTF-16, empty columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dife_lightning.datasets.parsing.text import read_text
from dife_lightning.errors import DataError, did_you_mean

_DELIMITERS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"[^"]*"')


class CsvFile(NamedTuple):
    """Names of C columns (empty for a column without one), and rows of C cells, each with its line number."""

    columns: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]


def read_csv(path: Path, needed: Iterable[str] = (), say: Callable[[str], None] | None = None) -> CsvFile:
    """Read a CSV file whose first line names its columns, of which some are ``needed``; blank lines are ignored.

    The delimiter is that of a line ``sep=;`` before the first one, or the one that the first line has most of. Empty
    cells beyond the named columns are dropped. ``say`` gets a line about what was guessed.

    Raises:
        DataError: there is no such file, it is not CSV, it is empty, or a column is missing or repeated.
    """
    rows = read_rows(path, say)
    if not rows:
        raise DataError(f"{path} is empty; expected a first line with the names of the columns.")
    number, columns = rows[0][0], _without_empty(rows[0][1], 0)
    for name in needed:
        if name not in columns:
            raise DataError(f"{path}, row {number}: no column '{name}'. {did_you_mean(name, columns)}")
    named = [name for name in columns if name]
    if len(set(named)) != len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise DataError(f"{path}, row {number}: column '{twice}' is repeated; expected once.")
    return CsvFile(columns, [(place, _without_empty(row, len(columns))) for place, row in rows[1:]])


def read_rows(path: Path, say: Callable[[str], None] | None = None) -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV file that are not blank, each with its line number; see :func:`read_csv`."""
    lines = read_text(path, say).splitlines()
    delimiter, skipped = _delimiter(lines)
    reader = csv.reader(lines[skipped:], skipinitialspace=delimiter != "\t", delimiter=delimiter)
    try:
        rows = [(skipped + reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, row {reader.line_num}: {error}; expected comma-separated values.") from None
    return [(number, row) for number, row in rows if any(row)]


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """Return the delimiter, and how many lines before the names of the columns are none of the table."""
    first = lines[0].strip().strip('"') if lines else ""
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4], 1
    if lines and lines[0].lower().startswith("sep=\t"):
        return "\t", 1
    header = _QUOTED.sub("", next((line for line in lines if line.strip()), ""))
    return max(_DELIMITERS, key=header.count), 0


def _without_empty(row: list[str], least: int) -> list[str]:
    """Return a row without empty cells at its end, but with at least ``least`` cells if it had as many."""
    while len(row) > least and not row[-1]:
        row = row[:-1]
    return row
