"""What was made of a file, kept for all who ask for it in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class KeptByFile(Generic[T]):
    """Makes a thing of a file once, and anew when another file or content has taken the place of that file.

    Of each path the newest thing is kept; who holds an older one keeps it.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[tuple[int, ...], T]] = {}

    def get(self, path: Path, make: Callable[[Path], T]) -> T:
        """Return what ``make`` made of the file ``path``."""
        path = path.resolve()
        state = path.stat()
        # size and time of change can be those of the file before: it was replaced within a tick, or its time was set
        content = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if path not in self._kept or self._kept[path][0] != content:
            self._kept[path] = content, make(path)
        return self._kept[path][1]
