"""Where the verbs on photos write, and that nothing they read is replaced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dife_lightning.errors import UsageError


def photo_place(folder: Path, name: str) -> Path:
    """Return the file below ``folder`` that is named after a photo; its suffix is that of the photo."""
    return folder.joinpath(*(part for part in PurePosixPath(name).parts if part not in "/.."))


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
