"""Reads image files of any mode as RGB."""

from __future__ import annotations

import os
import struct
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from dife_lightning.errors import DataError, MissingDataError
from dife_lightning.utils.notes import many, note, some

#: Suffixes of image files, for listing folders.
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"
)  # fmt: skip
#: Formats whose further pictures are frames (in others they are previews, depth maps or pages).
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
#: Files and folders that systems and tools leave in folders of pictures.
_CLUTTER = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir")
#: EXIF tag of the orientation, and the transposition that each of its values stands for.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: str | Path | BinaryIO, name: str | None = None) -> NDArray[np.uint8]:
    """Read an image, a file or an open one, as (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit images are converted, transparency becomes white, the EXIF orientation is applied. Of
    an animation, the first picture is read, and a line says so. Messages call the image ``name``, or by its path.

    Raises:
        DataError: the file is missing, empty, truncated or not an image.
    """
    with _opened(path, name or str(path)) as image:
        if image.format in _ANIMATED and getattr(image, "is_animated", False):
            note(f"{name or path}: an animation; its first picture is read")
        image.load()
        turn = _TURNS.get(_orientation(image))  # Pillow rotates TIFF itself, and resets the tag
        return _to_rgb(image if turn is None else image.transpose(turn))


def read_frame(path: str | Path) -> tuple[int, int, int]:
    """Return width and height of an image as it is stored, and its EXIF orientation (1 to 8).

    Only the header is read, except for PNG files, which may hold the orientation after the pixels.

    Raises:
        DataError: the file is missing, empty or not an image.
    """
    with _opened(path, str(path)) as image:
        orientation, (width, height) = _orientation(image), image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow gives the size after rotation
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        return width, height, orientation


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_ORIENTATION, 1)
    return found if isinstance(found, int) and found in range(1, 9) else 1


#: Filters of warnings belong to the whole process: of two threads that change them at a time, one undoes the other's.
_FILTERS = threading.Lock()
if hasattr(os, "register_at_fork"):  # a lock that another thread holds would stay locked in the new process
    os.register_at_fork(before=_FILTERS.acquire, after_in_parent=_FILTERS.release, after_in_child=_FILTERS.release)


@contextmanager
def _opened(path: str | Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open an image, and turn errors of Pillow into a DataError of one line."""
    try:
        with _FILTERS, warnings.catch_warnings():
            # of pictures above 89 million pixels; above twice that, Pillow raises
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"no image {name}. Check the path.") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise DataError(f"{name} has more than {most} megapixels; make it smaller.") from None
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} is damaged or not an image ({reason}). Remove it or copy it again.") from None


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        grey = _to_eight_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _to_eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Divide 16-bit integers by 257; scale floats from 0..1, 0..255 or 0..65535, as their largest value shows."""
    numbers = np.nan_to_num(values.astype(np.float64))
    largest = numbers.max(initial=0)
    if np.issubdtype(values.dtype, np.integer):
        factor = 1.0 if largest <= 255 and values.dtype.itemsize > 2 else 1 / 257
    else:
        factor = 255.0 if largest <= 1 else 1.0 if largest <= 255 else 1 / 257
    return np.clip(np.rint(numbers * factor), 0, 255).astype(np.uint8)


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files below ``folder``, sorted by path; one line says which other files were passed over.

    Linked folders are followed, hidden files and those of systems are ignored. A file without suffix is an image if its
    content is one.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    folder = Path(os.path.expanduser(folder))
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}. Give the folder that holds the images.")
    files = list(walk_files(folder))
    found = [path for path in files if path.suffix.lower() in SUFFIXES or (not path.suffix and _is_image(path))]
    others = Counter(path.suffix.lower() or "without suffix" for path in set(files) - set(found))
    told = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    if not found:
        there = f" (there: {told})" if told else ""
        raise DataError(f"{folder} holds no images; expected files ending in {', '.join(SUFFIXES[:4])}, ...{there}")
    if others:
        note(f"{folder}: {many(len(found), 'image')}; passed over: {told} (if pictures, convert them to JPEG)")
    return sorted(found)


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder``, linked folders included, without hidden ones and those of systems.

    A line says how many links lead nowhere.
    """
    seen, lost = set(), list[str]()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(parent)
        kept = [] if here in seen else [name for name in folders if not _is_clutter(name)]  # a link may lead to itself
        folders[:] = sorted(kept)
        for name in names if here not in seen else ():
            path = Path(parent, name)
            if not _is_clutter(name) and path.is_file():
                yield path
            elif path.is_symlink() and not path.exists():
                lost.append(path.relative_to(folder).as_posix())
        seen.add(here)
    if lost:
        note(f"{folder}: {many(len(lost), 'link')} to files that are not there, passed over: {some(lost)}")


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _is_image(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return False


def center_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crop the central square of (H, W, 3) and resize it to (size, size, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size:
        return square
    method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    resized: NDArray[np.uint8] = cv2.resize(square, (size, size), interpolation=method).astype(np.uint8)
    return resized
