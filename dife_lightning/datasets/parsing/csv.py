"""Rows of CSV files by the names of their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dife_lightning.datasets.parsing.text import read_text
from dife_lightning.errors import DataError, did_you_mean


class CsvFile(NamedTuple):
    """Columns (C), and rows of C cells with the line that each stands on."""

    columns: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]


def read_csv(path: Path, needed: Iterable[str]) -> CsvFile:
    """Read a CSV file whose first line names its columns; blank lines are passed over.

    Args:
        path: of the file.
        needed: columns that must be there.

    Raises:
        DataError: there is no such file, it is not CSV, it is empty, or a column is missing or there twice.
    """
    reader = csv.reader(read_text(path).splitlines(), skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path}, row {reader.line_num}: {error}; expected comma-separated values.") from None
    if not lines:
        raise DataError(f"{path} is empty; expected a first line with the names of the columns.")
    columns = lines[0][1]
    for name in needed:
        if name not in columns:
            raise DataError(f"{path}, row 1: no column '{name}'. {did_you_mean(name, columns)}")
    if len(set(columns)) != len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"{path}, row 1: column '{twice}' is there twice; expected each once.")
    return CsvFile(columns, lines[1:])
