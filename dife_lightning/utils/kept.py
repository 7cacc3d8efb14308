"""What was made of a file, kept for all who ask for it in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_State = tuple[int, ...] | None


class KeptByFile(Generic[T]):
    """Makes a thing of a file once, and anew when another file or content has taken the place of that file.

    Of each path the newest thing is kept; who holds an older one keeps it.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[list[_State], T]] = {}

    def get(self, path: Path, make: Callable[[Path], T], *beside: Path) -> T:
        """Return what ``make`` made of the file ``path``, and of those ``beside`` it, which need not be there."""
        path = path.resolve()
        content = [_state(path), *(_state(file) if file.is_file() else None for file in beside)]
        if path not in self._kept or self._kept[path][0] != content:
            self._kept[path] = content, make(path)
        return self._kept[path][1]


def _state(path: Path) -> _State:
    """Return what tells contents of a file apart."""
    found = path.stat()
    # size and time of change can be those of the file before: it was replaced within a tick, or its time was set
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
