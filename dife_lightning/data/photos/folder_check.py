"""Checks a folder of training images: their number, and which of them harm a training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.images import center_square, list_images, read_image
from dife_lightning.weights.user_paths import user_path

#: Returns the image (H, W, 3) uint8 of a file, or raises DataError.
ReadImage = Callable[[Path], NDArray[np.uint8]]
#: An image whose standard deviation is below this (of 255 grey levels) counts as blank.
BLANK_DEVIATION = 4.0
#: With fewer images than these, the discriminator overfits: unless they are augmented, or in any case.
SMALL_SET, TINY_SET = 2000, 100


@dataclass(frozen=True)
class FolderReport:
    """Result of a check; paths in the order of the folder.

    Attributes:
        folder: that was checked.
        size: side of the generator's images in pixels.
        count: number of image files.
        damaged: files that cannot be read, with the reason.
        blank: images without content: one colour, or nearly.
        duplicates: groups of files with equal pixels.
        small: images whose shorter side is below ``size`` (they will be enlarged).
    """

    folder: Path
    size: int
    count: int
    damaged: dict[Path, str] = field(default_factory=dict)
    blank: list[Path] = field(default_factory=list)
    duplicates: list[list[Path]] = field(default_factory=list)
    small: list[Path] = field(default_factory=list)

    @property
    def repeated(self) -> list[Path]:
        """Files with the pixels of an earlier one."""
        return [path for group in self.duplicates for path in group[1:]]

    @property
    def usable(self) -> int:
        """Number of images that are not damaged, blank or a repetition."""
        return self.count - len({*self.damaged, *self.blank, *self.repeated})


def check_folder(folder: str | Path, size: int, read: ReadImage = read_image) -> FolderReport:
    """Read every image of a folder and its subfolders, for a generator of ``size`` px.

    ``folder`` may be a name such as ``own/photos/unlabelled/dog``. ``read`` reads one image; who needs the images
    passes a function that collects them. DataError if there is no such folder, or no image file in it.
    """
    folder = user_path(folder)
    files = list_images(folder)
    report = FolderReport(folder, size, len(files))
    seen: dict[str, list[Path]] = {}
    for path in files:
        try:
            image = read(path)
        except DataError as error:
            report.damaged[path] = str(error)
            continue
        if min(image.shape[:2]) < size:
            report.small.append(path)
        if is_blank(image, size):
            report.blank.append(path)
        seen.setdefault(_digest(image), []).append(path)
    report.duplicates.extend(group for group in seen.values() if len(group) > 1)
    return report


def is_blank(image: NDArray[np.uint8], size: int) -> bool:
    """Return whether the central square, which is trained on, is blank."""
    return float(center_square(image, min(size, 64)).astype(np.float32).std(axis=(0, 1)).max()) < BLANK_DEVIATION


def _digest(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def advice(report: FolderReport, skip_broken: bool = False) -> list[tuple[str, str]]:
    """Return (``ok`` | ``warning`` | ``error``, one line of advice) for each finding.

    With ``skip_broken``, damaged files are skipped, so they are no error.
    """
    found: list[tuple[str, str]] = []
    if report.damaged:
        files, first = _count(len(report.damaged), "file"), next(iter(report.damaged.values()))
        what = "skipped" if skip_broken else "cannot be read (--skip-broken skips them)"
        found.append(("warning" if skip_broken else "error", f"{files} {what}, the first: {first}"))
    for text, paths in (
        ("without content (one colour); remove them", report.blank),
        ("with the pixels of another one; remove them", report.repeated),
        (f"smaller than {report.size} px, which will be enlarged; remove them or train at a smaller size",
         report.small),
    ):  # fmt: skip
        if paths:
            found.append(("warning", f"{_count(len(paths), 'image')} {text}: {_names(paths)}"))
    found.append(_size_advice(report.usable))
    return [(level, f"{report.folder}: {text}") for level, text in found]


def _size_advice(usable: int) -> tuple[str, str]:
    similar = "a generator of a similar face (--model.init_args.init_from world/dog)"
    if usable < 2:
        return "error", f"{_count(usable, 'usable image')}; a generator needs two or more, better thousands"
    if usable < TINY_SET:
        text = f"{usable} usable images will be memorised; collect at least {TINY_SET}, and start from {similar}"
        return "warning", text
    if usable < SMALL_SET:
        text = f"{usable} usable images are a small set: keep the augmentation on (stylegan2/small)"
        return "warning", f"{text}, start from {similar}, and stop when val/fid rises"
    return "ok", f"{usable} usable images"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _names(paths: Iterable[Path], most: int = 3) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
