"""Atomic writing of files, and the cache folder."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any


def photo_place(folder: Path, name: str) -> Path:
    """Return the file that is named after a photo, which may be a path; it does not lead out of ``folder``."""
    return folder.joinpath(*(part for part in PurePosixPath(name).parts if part not in "/.."))


def cache_folder() -> Path:
    """Return the cache folder: ``DIFE_CACHE``, else the platform's default. It may not exist yet."""
    if chosen := os.environ.get("DIFE_CACHE"):
        return Path(os.path.expanduser(chosen))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dife-lightning"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "dife-lightning" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dife-lightning"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces ``path`` when the block ends without an error.

    The temporary file is in the folder of ``path`` (created if necessary) and has the same suffix, so writers that
    choose a format by suffix work. On an error it is removed, and ``path`` is unchanged.

    Example:
        >>> with atomic_write("runs/a/metrics.csv") as temporary:
        ...     temporary.write_text("step,loss")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a write fails without a name; readers need the path
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_buffer(path: str | Path) -> Iterator[io.BytesIO]:
    """Yield a buffer, whose content replaces ``path`` when the block ends without an error.

    It is for writers that leave half a file without an error on a full disk, such as Pillow, or that end the process,
    such as torch's archives.
    """
    buffer = io.BytesIO()
    yield buffer
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _flush_to_disk(path: Path) -> None:
    """Write the content to disk before the rename, because some file systems reorder the two."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    NumPy and torch scalars and arrays become numbers and lists, paths become strings, and values that strict JSON lacks
    (NaN, infinities) become ``null``.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Convert ``value`` to types of JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy and torch, without importing either
        return _plain(value.tolist())
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")
