"""Sizes of picture files and whether they can be decoded, cached so that each file is opened once.

Which faces an evaluation can use depends on the size of every picture, and a damaged picture shows when it is decoded.
Inside :func:`image_info_cache` both are remembered, in memory and in the cache folder, until a file's size or
modification time changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dife_lightning.faces.images import read_frame, read_image
from dife_lightning.utils.caching import cache_file, read_arrays, write_arrays

#: Increase it when the content of the cache files changes its meaning.
_FORMAT = 1


class _Info(NamedTuple):
    """Size and modification time of a file, and what follows from its content."""

    bytes: int
    time: int
    width: int
    height: int
    orientation: int
    whole: bool


@dataclass
class _Cache:
    """What is known, by folder and file name, and the folders where something is new."""

    disk: bool
    folders: dict[str, dict[str, _Info]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    def folder(self, path: str) -> dict[str, _Info]:
        if path not in self.folders:
            self.folders[path] = _load(path) if self.disk else {}
        return self.folders[path]


_cache: _Cache | None = None


@contextmanager
def image_info_cache(disk: bool = True) -> Iterator[None]:
    """Inside the block, no picture is opened twice for its size or decoded twice to check it.

    With ``disk``, what is known is read from the cache folder, and what is new is added at the end. An inner block uses
    the cache of the outer one.
    """
    global _cache
    if _cache is not None:
        yield
        return
    _cache = cache = _Cache(disk)
    try:
        yield
    finally:
        _cache = None
        for path in cache.changed if disk else ():
            _save(path, cache.folders[path])


def frame_of(path: str | Path) -> tuple[int, int, int]:
    """Return width, height and EXIF orientation, as :func:`~dife_lightning.faces.images.read_frame` does."""
    return _info(path, decode=False)[2:5]


def shown_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of a picture as viewers show it; raises what :func:`frame_of` does."""
    width, height, orientation = frame_of(path)
    return (height, width) if orientation >= 5 else (width, height)


def check_whole(path: str | Path) -> None:
    """Decode a picture, unless the cache says that it can be decoded; DataError if it is damaged."""
    _info(path, decode=True)


def _info(path: str | Path, decode: bool) -> _Info:
    parent, name = os.path.split(path)
    try:
        status = os.stat(path)
    except OSError:
        return _read(path, (0, 0), decode)  # which says what is wrong
    state = status.st_size, status.st_mtime_ns
    if _cache is None:
        return _read(path, state, decode)
    known = _cache.folder(parent)
    found = known.get(name)
    if found is None or found[:2] != state or (decode and not found.whole):
        found = known[name] = _read(path, state, decode)
        _cache.changed.add(parent)
    return found


def _read(path: str | Path, state: tuple[int, int], decode: bool) -> _Info:
    if decode:
        read_image(path)
    return _Info(*state, *read_frame(path), decode)


def _file(folder: str) -> Path:
    return cache_file("frames", os.fsencode(f"{_FORMAT} {os.path.realpath(folder)}"))


def _load(folder: str) -> dict[str, _Info]:
    arrays = read_arrays(_file(folder), ("names", "numbers"))
    if arrays is None:
        return {}
    names, numbers = os.fsdecode(arrays["names"].tobytes()).split("\0"), arrays["numbers"]
    if numbers.shape != (len(names), len(_Info._fields)) or numbers.dtype != np.int64:
        return {}
    if not ((numbers[:, 2:4] > 0).all() and np.isin(numbers[:, 4], range(1, 9)).all()):
        return {}
    return {name: _Info._make((*row[:-1], bool(row[-1]))) for name, row in zip(names, numbers.tolist(), strict=True)}


def _save(folder: str, known: dict[str, _Info]) -> None:
    names = np.frombuffer(os.fsencode("\0".join(known)), np.uint8)
    write_arrays(_file(folder), {"names": names, "numbers": np.array(list(known.values()), np.int64)})
