"""Lines for the user on what was guessed, converted or passed over."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dife_lightning.errors import printable

#: Lines that a command has printed; None outside a command.
_said: set[str] | None = None


def note(text: str) -> None:
    """Print one line on stderr, in the first process of a training alone, and once in a command."""
    if any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
        return
    if _said is not None:
        if text in _said:
            return
        _said.add(text)
    print(f"note: {printable(text)}", file=sys.stderr)


@contextmanager
def each_once() -> Iterator[None]:
    """Print equal notes once, as a command does that reads many files of one kind."""
    global _said
    before, _said = _said, set()
    try:
        yield
    finally:
        _said = before


def many(count: int, what: str) -> str:
    """Return ``1 point`` or ``2 points``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def some(names: Sequence[object], most: int = 3) -> str:
    """Return the first of ``names``, joined by commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
