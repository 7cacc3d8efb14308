"""The two caches: objects loaded from files in this process, and arrays on disk.

What a cache holds can always be made again. A file that is damaged, or a folder that cannot be written, costs time and
changes no result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dife_lightning.utils.files import atomic_write, cache_folder

T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]


class ObjectCache(Generic[T]):
    """Process-wide cache of objects loaded from files.

    An object is loaded once, and again when the content of its file has changed. Only the newest object of a key is
    held; callers keep older ones that they already have.
    """

    def __init__(self) -> None:
        self._objects: dict[Hashable, tuple[object, T]] = {}

    def load(self, path: Path, make: Callable[[Path], T], *beside: Path) -> T:
        """Return what ``make`` loads from the file ``path`` and from the files ``beside`` it, which may be missing."""
        path = path.resolve()
        state = [_file_state(path), *(_file_state(file) if file.is_file() else None for file in beside)]
        return self.get(path, state, lambda: make(path))

    def get(self, key: Hashable, state: object, make: Callable[[], T]) -> T:
        """Return the object of ``key``, made again if ``state`` has changed."""
        if key not in self._objects or self._objects[key][0] != state:
            self._objects[key] = state, make()
        return self._objects[key][1]


def _file_state(path: Path) -> tuple[int, ...]:
    """Return numbers that differ between contents of a file."""
    found = path.stat()
    # Size and modification time alone can repeat: a file replaced within a clock tick, or with its time set back.
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def cache_file(kind: str, key: bytes) -> Path:
    """Return the file of the on-disk cache for the arrays of a ``kind`` that ``key`` determines."""
    return cache_folder() / kind / f"{hashlib.sha256(key).hexdigest()[:24]}.npz"


def cached_array(
    path: Path | None, shape: tuple[int, ...], dtype: type[np.generic], make: Callable[[], NDArray[Any]]
) -> NDArray[Any]:
    """Return one array from an ``.npy`` file of the on-disk cache (memory-mapped), or make and store it.

    A file of another shape or type is replaced. Without a ``path``, nothing is stored.
    """
    found = None if path is None else _mapped(path)
    if found is not None and found.shape == shape and found.dtype == dtype:
        return found
    made = make()
    if path is not None:
        _write(path, lambda file: np.save(file, made))
    return made


def _mapped(path: Path) -> NDArray[Any] | None:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception:  # damaged bytes raise errors of many kinds in NumPy and Python's parser
        return None


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]] | None:
    """Return arrays of an ``.npz`` file by name; None if the file is missing or damaged."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except Exception:  # damaged bytes raise errors of many kinds in NumPy, zipfile, zlib and Python's parser
        return None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays as an ``.npz`` file, completely or not at all; a full or read-only disk is no error."""
    _write(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def _write(path: Path, save: Callable[[Path], None]) -> None:
    with suppress(OSError), atomic_write(path) as temporary:
        save(temporary)
