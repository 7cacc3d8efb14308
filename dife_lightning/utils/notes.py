"""Lines for the user on what was guessed, converted or passed over."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dife_lightning.errors import printable


def note(text: str) -> None:
    """Print one line on stderr, in the first process of a training alone."""
    if all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
        print(f"note: {printable(text)}", file=sys.stderr)


def many(count: int, what: str) -> str:
    """Return ``1 point`` or ``2 points``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def some(names: Sequence[object], most: int = 3) -> str:
    """Return the first of ``names``, joined by commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
