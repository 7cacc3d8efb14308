"""The photos of a page: those of one folder and uploaded ones, by number. A client never names a file."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dife_lightning.errors import DataError
from dife_lightning.faces.images import list_images, read_image
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many, note

#: Bytes and pixels of a photo, and the number of uploaded ones that are held at once.
BYTES, PIXELS, UPLOADS = 20 * 2**20, 50_000_000, 50
#: Longest side in pixels of what the page shows.
SHOWN = 900


@dataclass(frozen=True)
class PagePhoto:
    """A photo: its name, and its file or its pixels (H, W, 3) if it was uploaded."""

    name: str
    file: Path | None = None
    pixels: NDArray[np.uint8] | None = None

    def read(self) -> NDArray[np.uint8]:
        """Return the photo, upright; DataError if it cannot be read or has too many pixels."""
        if self.pixels is not None:
            return self.pixels
        assert self.file is not None
        _check_pixels(self.file, self.name)
        return read_image(self.file)


class PagePhotos:
    """All photos of a page.

    Args:
        folder: whose photos are shown; none below it that leads out of it by a link.
        uploads: how many uploaded photos are taken; further ones are refused.

    Raises:
        DataError: no photo in the folder.
    """

    def __init__(self, folder: str | Path, uploads: int = UPLOADS) -> None:
        require(at_least=1, uploads=uploads)
        self.folder = Path(os.path.expanduser(folder))
        root = self.folder.resolve()
        found = [path for path in list_images(self.folder) if path.resolve().is_relative_to(root)]
        outside = len(list_images(self.folder)) - len(found)
        if outside:
            note(f"{self.folder}: {many(outside, 'photo')} left out: a link leads out of the folder")
        if not found:
            raise DataError(f"{self.folder} holds no photo of its own")
        self._photos = [PagePhoto(path.relative_to(self.folder).as_posix(), path) for path in found]
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
        """Return the names of all photos, by number."""
        with self._lock:
            return [photo.name for photo in self._photos]

    def add(self, name: str, content: bytes) -> int:
        """Take an uploaded photo and return its number; DataError if it is no photo or too large."""
        if len(content) > BYTES:
            raise DataError(f"the file has {len(content):,} bytes; at most {BYTES:,} are taken")
        _check_pixels(io.BytesIO(content), "the file")
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, SyntaxError):
            raise DataError("the file is damaged") from None
        shown = "".join(letter for letter in name if letter.isprintable()).rpartition("/")[2].rpartition("\\")[2]
        with self._lock:
            if len(self._photos) - self._count >= self._uploads:
                raise DataError(f"{self._uploads} photos are uploaded already; start the page again for others")
            self._photos.append(PagePhoto(shown[:80] or "a photo", pixels=pixels))
            return len(self._photos) - 1


def shown_jpeg(photo: PagePhoto, side: int = SHOWN) -> bytes:
    """Return a photo as JPEG, its longer side at most ``side`` pixels."""
    image = Image.fromarray(photo.read())
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=88)
    return content.getvalue()


def _check_pixels(file: Path | io.BytesIO, name: str) -> None:
    """Raise DataError for a picture with too many pixels, from its header alone, or for something else."""
    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise DataError(f"{name} is damaged or not a picture") from None
    if width * height > PIXELS:
        raise DataError(f"{name} has {width} x {height} pixels; at most {PIXELS:,} are taken")
