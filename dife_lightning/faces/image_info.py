"""What is known of picture files without opening them again: their sizes, and that they are whole.

Which faces can be used depends on the size of every picture, and whether a picture is damaged shows when it is decoded.
Both are facts of a file's content, so that within :func:`remembering` a file is opened once and its facts are kept in
the cache folder, for as long as its size and time of change stay what they are. A cache that is damaged, or that cannot
be written, costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dife_lightning.faces.images import read_frame, read_image
from dife_lightning.utils.cached_arrays import read_arrays, write_arrays
from dife_lightning.utils.files import cache_folder

#: Raise it when the facts, or how they are found, change meaning.
_FORMAT = 1


class _Facts(NamedTuple):
    """A file's size and time of change, and what follows from its content."""

    bytes: int
    time: int
    width: int
    height: int
    orientation: int
    whole: bool


@dataclass
class _Folder:
    """The facts of one folder's files, by name."""

    known: dict[str, _Facts]
    changed: bool = False


@dataclass
class _Memory:
    disk: bool
    folders: dict[str, _Folder] = field(default_factory=dict)

    def folder(self, path: str) -> _Folder:
        if path not in self.folders:
            self.folders[path] = _Folder(_load(path) if self.disk else {})
        return self.folders[path]


_memory: _Memory | None = None


@contextmanager
def remembering(disk: bool = True) -> Iterator[None]:
    """Within the block no picture is opened twice to learn its size, or decoded twice to learn that it is whole.

    Args:
        disk: take what is known from the cache folder, and add what is new when the block ends. A block within
            another one belongs to that.
    """
    global _memory
    if _memory is not None:
        yield
        return
    _memory = memory = _Memory(disk)
    try:
        yield
    finally:
        _memory = None
        for path, folder in memory.folders.items():
            if disk and folder.changed:
                _save(path, folder.known)


def frame_of(path: str | Path) -> tuple[int, int, int]:
    """Return width and height of a picture as it is stored, and its EXIF orientation (see ``images.read_frame``).

    Raises:
        DataError: the file is missing, empty or not an image.
    """
    return _facts(path, decode=False)[2:5]


def shown_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of a picture as viewers show it; raises what :func:`frame_of` does."""
    width, height, orientation = frame_of(path)
    return (height, width) if orientation >= 5 else (width, height)


def check_whole(path: str | Path) -> None:
    """Decode a picture, unless that was done before.

    Raises:
        DataError: the file is missing, empty, truncated or not an image.
    """
    _facts(path, decode=True)


def _facts(path: str | Path, decode: bool) -> _Facts:
    parent, name = os.path.split(path)
    state = _state(path) if _memory is not None else None
    if _memory is None or state is None:
        return _read(path, (0, 0), decode)
    folder = _memory.folder(parent)
    found = folder.known.get(name)
    if found is None or found[:2] != state or (decode and not found.whole):
        found = folder.known[name] = _read(path, state, decode)
        folder.changed = True
    return found


def _state(path: str | Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(path: str | Path, state: tuple[int, int], decode: bool) -> _Facts:
    if decode:
        read_image(path)
    return _Facts(*state, *read_frame(path), decode)


def _file(folder: str) -> Path:
    key = f"{_FORMAT} {os.path.realpath(folder)}"
    return cache_folder() / "frames" / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:24]}.npz"


def _load(folder: str) -> dict[str, _Facts]:
    arrays = read_arrays(_file(folder), ("names", "numbers"))
    if arrays is None:
        return {}
    names, numbers = os.fsdecode(arrays["names"].tobytes()).split("\0"), arrays["numbers"]
    if numbers.shape != (len(names), len(_Facts._fields)) or numbers.dtype != np.int64:
        return {}
    if not ((numbers[:, 2:4] > 0).all() and np.isin(numbers[:, 4], range(1, 9)).all()):
        return {}
    return {name: _Facts._make((*row[:-1], bool(row[-1]))) for name, row in zip(names, numbers.tolist(), strict=True)}


def _save(folder: str, known: dict[str, _Facts]) -> None:
    names = np.frombuffer(os.fsencode("\0".join(known)), np.uint8)
    write_arrays(_file(folder), {"names": names, "numbers": np.array(list(known.values()), np.int64)})
