"""Nothing that a verb reads is replaced by what it writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dife_lightning.errors import UsageError


def refuse_to_replace(read: Iterable[str | Path], written: Iterable[Path]) -> None:
    """Raise UsageError if a file to be ``written`` is one of those that are ``read``, also through links."""
    known = {identity for path in read if (identity := _identity(path)) is not None}
    for path in written:
        if _identity(path) in known:
            raise UsageError(f"{path} is read, and would be replaced; give another --out.")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return what two names of one file have in common; None if there is no such file."""
    try:
        found = Path(path).expanduser().stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
