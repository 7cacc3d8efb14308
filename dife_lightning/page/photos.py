"""The photos of a page: those of one folder and uploaded ones, by number. A client never names a file."""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import unicodedata
from collections.abc import Container
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dife_lightning.errors import DataError
from dife_lightning.faces.images import list_images, read_image
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many, note

#: Photos of a folder, and uploaded ones; bytes of an uploaded one, pixels and longer side of any.
PHOTOS, UPLOADS, BYTES, PIXELS, SIDE = 500, 50, 20 * 2**20, 50_000_000, 12_000
#: Longest side in pixels of what the page shows.
SHOWN = 900


@dataclass(frozen=True)
class PagePhoto:
    """A photo: its name, and its file (absolute, without links) or, if it was uploaded, what that holds."""

    name: str
    file: Path | None = None
    content: bytes = b""

    def read(self) -> NDArray[np.uint8]:
        """Return the photo (H, W, 3), upright; DataError if it cannot be read, or has too many pixels."""
        with io.BytesIO(self.content) if self.file is None else _open_file(self.file, self.name) as opened:
            _check_pixels(opened, self.name)
            opened.seek(0)
            return read_image(opened, self.name)


class PagePhotos:
    """All photos of a page.

    Args:
        folder: whose photos are shown; none below it that leads out of it by a link.
        uploads: how many uploaded photos are taken; further ones are refused.

    Raises:
        DataError: no photo in the folder, or more than 500.
    """

    def __init__(self, folder: str | Path, uploads: int = UPLOADS) -> None:
        require(at_least=1, uploads=uploads)
        self.folder = Path(os.path.expanduser(folder))
        root, listed = self.folder.resolve(), list_images(self.folder)
        inside = [(path, file) for path in listed if (file := path.resolve()).is_relative_to(root)]
        if outside := len(listed) - len(inside):
            note(f"{self.folder}: {many(outside, 'photo')} left out: a link leads out of the folder")
        named = [(path.relative_to(self.folder).as_posix(), file) for path, file in inside]
        self._photos = [PagePhoto(name, file) for name, file in named if name == _printable(name)]
        if unnamed := len(named) - len(self._photos):
            note(f"{self.folder}: {many(unnamed, 'photo')} left out: rename files whose names are no text")
        if not self._photos:
            raise DataError(f"{self.folder} holds no photo of its own")
        if len(self._photos) > PHOTOS:
            raise DataError(f"{self.folder} holds {len(self._photos):,} photos; a page shows {PHOTOS} at most. "
                            "Give a folder with fewer")  # fmt: skip
        self._count, self._uploads, self._lock = len(self._photos), uploads, threading.Lock()

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, number: int) -> PagePhoto:
        """Return photo ``number``; DataError if there is none."""
        with self._lock:
            if not 0 <= number < len(self._photos):
                raise DataError(f"there is no photo {number}")
            return self._photos[number]

    def names(self) -> list[str]:
        """Return the names of all photos, by number; no two are equal."""
        with self._lock:
            return [photo.name for photo in self._photos]

    def add(self, name: str, content: bytes) -> int:
        """Take an uploaded photo and return its number; DataError if it is no photo or too large.

        If another photo has its name, a number is added to it.
        """
        if len(content) > BYTES:
            raise DataError(f"the file has {len(content):,} bytes; at most {BYTES:,} are taken")
        shown = _printable(name).rpartition("/")[2].rpartition("\\")[2][-80:].strip() or "a photo"
        PagePhoto(shown, content=content).read()  # says what is wrong with it
        with self._lock:
            if len(self._photos) - self._count >= self._uploads:
                raise DataError(f"{self._uploads} photos are uploaded already; start the page again for others")
            self._photos.append(PagePhoto(_free(shown, {photo.name for photo in self._photos}), content=content))
            return len(self._photos) - 1


def shown_jpeg(photo: PagePhoto, side: int = SHOWN) -> bytes:
    """Return a photo as JPEG, its longer side at most ``side`` pixels."""
    image = Image.fromarray(photo.read())
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=88)
    return content.getvalue()


def _printable(name: str) -> str:
    """Return a name without control characters and bytes that are no text."""
    return "".join(letter for letter in name if unicodedata.category(letter) not in ("Cc", "Cs"))


def _free(name: str, taken: Container[str]) -> str:
    """Return the name, or the first of ``name_2.png``, ``name_3.png``, ... that is not taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{Path(name).stem}_{number}{Path(name).suffix}"
    return free


def _open_file(path: Path, name: str) -> BinaryIO:
    """Open a file by its path without links; DataError if a part of it has become a link since, or it is no file."""
    if os.open not in os.supports_dir_fd:  # on Windows
        if path.resolve() != path or not path.is_file():
            raise DataError(f"{name} is gone, or has become a link since the start")
        return path.open("rb")
    only = os.O_RDONLY | os.O_NOFOLLOW
    with ExitStack() as closing:
        try:
            parent = None
            for part in path.parts[:-1]:
                # O_PATH needs no permission to list the folder
                parent = os.open(part, only | os.O_DIRECTORY | getattr(os, "O_PATH", 0), dir_fd=parent)
                closing.callback(os.close, parent)
            opened = os.open(path.name, only | os.O_NONBLOCK, dir_fd=parent)
        except OSError:
            raise DataError(f"{name} is gone, or has become a link since the start") from None
        if stat.S_ISREG(os.fstat(opened).st_mode):
            return os.fdopen(opened, "rb")
        os.close(opened)
        raise DataError(f"{name} is no file any more")


def _check_pixels(file: BinaryIO, name: str) -> None:
    """Raise DataError for a picture with too many pixels, from its header alone, or for something else."""
    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        raise DataError(f"{name} is damaged or not a picture") from None
    if width * height > PIXELS or max(width, height) > SIDE:
        raise DataError(f"{name} has {width} x {height} pixels; at most {PIXELS:,} are taken, {SIDE:,} a side")
