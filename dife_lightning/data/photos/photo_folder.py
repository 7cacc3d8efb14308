"""The faces of a folder of photographs without labels: its pictures, with a box for each face or whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.boxes import read_boxes
from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.errors import ConfigError, DataError, MissingDataError
from dife_lightning.faces.image_info import check_whole, image_info_cache, shown_size
from dife_lightning.faces.images import list_images, read_image
from dife_lightning.faces.items import PictureCrop
from dife_lightning.geometry.crops import CropError, CropOptions, Padding, Square, crop_image, face_square
from dife_lightning.utils.notes import many, note, some
from dife_lightning.weights.user_paths import user_path

#: Rules of a crop that need no landmarks, with and without boxes.
_RULES = {True: ("box", "animalweb", "whole"), False: ("whole",)}


class Target(NamedTuple):
    """A face to find landmarks in.

    Attributes:
        name: of the face: its photograph as listed, with ``#1``, ``#2``, ... where that has several boxes.
        file: of the photograph.
        listed: the photograph as its folder, or the file of boxes, names it.
        width: of the photograph in pixels, as viewers show it.
        height: likewise.
        square: the part to look at.
        box: (4,) x0, y0, x1, y1 in pixels of the photograph; None without a file of boxes.
    """

    name: str
    file: Path
    listed: str
    width: int
    height: int
    square: Square
    box: NDArray[np.float32] | None = None

    def image(self, size: int, padding: Padding) -> NDArray[np.uint8]:
        """Read and crop the photograph, as (size, size, 3); DataError if it cannot be read."""
        try:
            return crop_image(read_image(self.file), self.square, size, padding)
        except DataError as error:
            raise _with_hint(error) from None

    def crop(self, size: int) -> PictureCrop:
        """Return where an image of ``size`` x ``size`` pixels comes from."""
        return PictureCrop(self.listed, self.width, self.height, self.square.matrix(size))


class TargetCrops:
    """Base of crops of faces without landmarks: ``points`` is their number, ``padding`` that of the crops."""

    def __init__(self, targets: Sequence[Target], size: int, padding: Padding, points: int) -> None:
        self.targets, self.size, self.padding, self.points = targets, size, padding, points

    def __len__(self) -> int:
        return len(self.targets)

    def picture(self, index: int) -> Path:
        """Return the file of the photograph that face ``index`` is in."""
        return self.targets[index].file


def unlabelled_crop(option: str, given: CropOptions | None, boxes: str | None) -> CropOptions:
    """Return the crop of faces without landmarks: as given, else the box, if there are boxes, else the whole picture.

    ``option`` is its name, for the message. ConfigError for a rule that needs landmarks, or boxes that are not there.
    """
    crop = given or CropOptions(rule="whole" if boxes is None else "box")
    if crop.rule not in _RULES[boxes is not None]:
        hint = "whole" if boxes is None else "box or whole"
        raise ConfigError(f"{option}: rule '{crop.rule}' needs landmarks or boxes; expected {hint}")
    return crop


@dataclass(frozen=True)
class PhotoFolder:
    """A folder of photographs.

    Attributes:
        pictures: the folder; subfolders are included. Or ``own/...`` of ``paths.yaml``.
        boxes: file with the boxes of the faces, COCO or CSV; None for whole photographs.
        crop: as :func:`unlabelled_crop` returns it.
        skip_broken: skip photographs that cannot be used, and report them.
    """

    pictures: str
    boxes: str | None
    crop: CropOptions
    skip_broken: bool = False

    def targets(self) -> list[Target]:
        """Return the faces, each photograph's beside each other.

        Raises:
            MissingDataError: no such folder.
            DataError: no photograph, one that cannot be read or cropped, boxes of photographs that are not there.
        """
        with image_info_cache():
            return self._made(user_path(self.pictures))

    def _made(self, root: Path) -> list[Target]:
        found: list[Target] = []
        broken: list[str] = []
        for listed, file, boxes in self.listed(root):
            try:
                if self.skip_broken:
                    check_whole(file)
                found += self._faces(listed, file, boxes)
            except DataError as error:
                if not self.skip_broken:
                    raise _with_hint(error) from None
                broken.append(f"{listed}: {error}")
        if broken:
            note(f"{root}: {many(len(broken), 'picture')} skipped, the first: {broken[0]}")
        if not found:
            raise DataError(f"{root}: no picture can be used; the first: {broken[0]}")
        return found

    def listed(self, root: Path) -> list[tuple[str, Path, list[NDArray[np.float32] | None]]]:
        """Return each picture's name below the folder, its file, and its boxes; [None] without a file of boxes.

        Raises what :meth:`targets` does, without opening any picture.
        """
        if self.boxes is None:
            return [(file.relative_to(root).as_posix(), file, [None]) for file in list_images(root)]
        if not root.is_dir():
            raise MissingDataError(f"no folder {root}. Give the folder that holds the images.")
        path = Path(os.path.expanduser(self.boxes))
        listed = read_boxes(path, lambda text: note(f"{path.name}: {text}"))
        places = find_pictures(root, listed, search=True)
        missing = [name for name, found in places.items() if len(found) != 1]
        if missing:
            text = f"{many(len(missing), 'picture')} of {len(listed)} not found below {root}, or several fit"
            raise DataError(f"{path}: {text}: {some(missing)}; give the folder that the names start from")
        return [(places[name][0], root / places[name][0], list(boxes)) for name, boxes in listed.items()]

    def _faces(self, listed: str, file: Path, boxes: Sequence[NDArray[np.float32] | None]) -> list[Target]:
        size, nothing = shown_size(file), (np.zeros((0, 2), np.float32), np.zeros(0, bool))
        found = []
        for k, box in enumerate(boxes, 1):
            name = listed if len(boxes) == 1 else f"{listed}#{k}"
            _check_inside(name, box, size)
            try:
                square = face_square(*nothing, size, self.crop, landmarks="all", box=box)
            except CropError as error:
                raise DataError(f"{name}: {error}") from None
            found.append(Target(name, file, listed, *size, square, box))
        return found


def _check_inside(name: str, box: NDArray[np.float32] | None, size: tuple[int, int]) -> None:
    """Raise DataError for a box that has no part in its picture."""
    if box is None:
        return
    (x0, y0, x1, y1), (width, height) = box.tolist(), size
    if x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
        where = f"box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) is outside the picture of {width} x {height} pixels"
        raise DataError(f"{name}: {where}; expected pixels of the picture as viewers show it")


def _with_hint(error: DataError) -> DataError:
    return DataError(f"{str(error).rstrip('.')}; add --skip-broken to skip such pictures")
