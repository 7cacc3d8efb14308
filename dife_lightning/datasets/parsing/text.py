"""Lines of text files and the numbers in them."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.errors import DataError, reason_of


class Lines(NamedTuple):
    """The lines of a file that are not blank: their numbers, counted from 1, and their stripped text."""

    numbers: Sequence[int]
    texts: Sequence[str]


class Rows(NamedTuple):
    """Content of N lines of one name and M numbers: names (N), values (N, M), and the indices of the lines (N)."""

    names: list[str]
    values: NDArray[np.float64]
    kept: list[int]


def read_text(path: Path, say: Callable[[str], None] | None = None) -> str:
    """Return a text file (UTF-8 or UTF-16) without its byte order mark.

    With ``say``, a file that is neither is read as Windows' western text (cp1252), and ``say`` gets a line about it.
    DataError if there is no such file, or it is not text.
    """
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        try:
            return content.decode("utf-16" if wide else "utf-8-sig")
        except UnicodeDecodeError:
            if say is None or wide or b"\0" in content:
                raise
        say(f"{path.name} is not UTF-8; read as Windows text (cp1252)")
        return content.decode("cp1252", errors="replace")
    except FileNotFoundError:
        raise DataError(f"no file {path}. Check the root folder against the tree in docs/datasets.md.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}).") from None


def read_json(path: Path, say: Callable[[str], None] | None = None) -> Any:
    """Return the content of a JSON file.

    DataError if it is not JSON, or an object has a key twice. Raises and says what :func:`read_text` does.
    """

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{path}: '{twice}' is there twice in one object; expected it once")
        return found

    try:
        return json.loads(read_text(path, say), object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, row {error.lineno}: not JSON ({error.msg}).") from None
    except RecursionError:
        raise DataError(f"{path}: lists in lists without end; expected the JSON file of an annotation tool.") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}: not JSON ({reason_of(error)}).") from None


def read_lines(path: Path) -> Lines:
    """Return the lines of a file; line ends may be those of Windows. Raises what :func:`read_text` does."""
    texts = [line.strip() for line in read_text(path).split("\n")]
    numbers = [number for number, text in enumerate(texts, 1) if text]
    return Lines(numbers, [texts[number - 1] for number in numbers])


def parse_rows(
    texts: Sequence[str], count: int, name_first: bool, source: Callable[[int], str], faults: Faults
) -> Rows:
    """Read lines that hold a name, which may contain blanks, and ``count`` numbers after (``name_first``) or before it.

    Lines of another form and numbers that are not finite are faults; ``source`` returns file and row of a line.
    """
    values = _parse_all(texts, count, name_first)
    if values is not None:
        alone = [text.split(None, 1)[0] if name_first else text.rsplit(None, 1)[1] for text in texts]
        return Rows(alone, values, list(range(len(texts))))
    names, rows, kept = [], [], []
    for i, text in enumerate(texts):
        with faults.at(source(i)):
            name, numbers = _parse_row(text, count, name_first)
            names.append(name)
            rows.append(numbers)
            kept.append(i)
    return Rows(names, np.array(rows, dtype=np.float64).reshape(-1, count), kept)


def _parse_row(text: str, count: int, name_first: bool) -> tuple[str, list[float]]:
    fields = text.rsplit(None, count) if name_first else text.split(None, count)
    name, cells = (fields[0], fields[1:]) if name_first else (fields[-1], fields[:-1])
    if len(fields) != count + 1 or _has_number(name, name_first):
        form = f"a name and {count} numbers" if name_first else f"{count} numbers and a name"
        raise Fault(f"{len(text.split())} fields, expected {form}")
    return name, parse_numbers(cells, count)


def _parse_all(texts: Sequence[str], count: int, name_first: bool) -> NDArray[np.float64] | None:
    """Parse all lines at once (fast); None if any line has to be looked at by itself."""
    # With `usecols` NumPy ignores extra fields but rejects missing ones, so the total number shows that none is extra.
    if not texts or len(" ".join(texts).split()) != len(texts) * (count + 1):
        return None
    columns = range(1, count + 1) if name_first else range(count)
    try:
        values = np.loadtxt(texts, usecols=columns, comments=None, ndmin=2)
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _has_number(name: str, name_first: bool) -> bool:
    """Return whether a name with blanks holds an extra number on the side of the numbers."""
    parts = name.split()
    if len(parts) < 2:
        return False
    try:
        float(parts[-1 if name_first else 0])
    except ValueError:
        return False
    return True


def parse_numbers(cells: Sequence[str], count: int) -> list[float]:
    """Return ``count`` finite numbers; Fault if the text is something else."""
    if len(cells) != count:
        raise Fault(f"{len(cells)} numbers, expected {count}")
    numbers = []
    for place, cell in enumerate(cells, 1):
        try:
            numbers.append(float(cell))
        except ValueError:
            raise Fault(f"'{cell}' found, expected number {place} of {count}") from None
        if not math.isfinite(numbers[-1]):
            raise Fault(f"number {place} of {count} is {cell}, expected a finite number")
    return numbers


def read_names(path: Path, faults: Faults) -> dict[str, int]:
    """Read a list of names, one per line; return the row of each name, in order. Repeated names are faults."""
    rows: dict[str, int] = {}
    lines = read_lines(path)
    for number, name in zip(lines.numbers, lines.texts, strict=True):
        note_once(rows, name, number, path, faults)
    return rows


def note_once(rows: dict[str, int], name: str, number: int, path: Path, faults: Faults) -> bool:
    """Add the row ``number`` of a name to ``rows``; report a repeated name and return False."""
    first = rows.setdefault(name, number)
    if first != number:
        faults.add(f"{path}, row {number}", f"'{name}' is listed twice (first: row {first})")
    return first == number
