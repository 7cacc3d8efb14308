"""Photos and folders of photos as an application is given them, and their faces, read ahead in batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.face_crops import FaceCrop, Where, open_photo
from dife_lightning.applications.face_embedder import FaceEmbedder
from dife_lightning.data.photos.photo_folder import PhotoFolder, unlabelled_crop
from dife_lightning.errors import ConfigError, DataError, MissingDataError
from dife_lightning.faces.images import list_images
from dife_lightning.utils.notes import many, note, some

#: Photos that are read, and whose faces are looked for, at once.
BATCH = 16


class TargetPhoto(NamedTuple):
    """A photo: its name in the results, its file, and where its faces are."""

    name: str
    file: Path
    faces: tuple[Where, ...]

    @property
    def state(self) -> list[int]:
        """Size and time of the file, by which a changed photo is known; empty if it is gone."""
        try:
            found = self.file.stat()
        except OSError:
            return []
        return [found.st_size, found.st_mtime_ns]


def target_photos(
    paths: Sequence[str | Path], faces: str = "auto", out: str | Path | None = None
) -> tuple[Path, list[TargetPhoto]]:
    """Return the folder that names of photos are relative to, and the photos.

    Args:
        paths: photos and folders of photos.
        faces: ``auto``, ``whole``, or a file with the boxes of the faces, COCO or CSV, of the photos of one folder.
        out: folder of the results; pictures in it that lie below one of ``paths`` are no photos.

    Raises:
        MissingDataError: no such photo or folder.
        DataError: a folder without photos, or boxes of photos that are not there.
        ConfigError: boxes for several folders, no ``paths``, or ``out`` is one of them.
    """
    given = [Path(os.path.expanduser(path)) for path in paths]
    missing = next((path for path in given if not path.exists()), None)
    if missing is not None or not given:
        raise MissingDataError(f"no photo or folder '{missing or ''}'. Give photos, or folders that hold them.")
    results = None if out is None else Path(os.path.expanduser(out)).resolve()
    if any(path.is_dir() and path.resolve() == results for path in given):
        raise ConfigError(f"{out} is the folder of the photos; choose another --out for the results")
    if faces not in ("auto", "whole"):
        if len(given) > 1 or not given[0].is_dir():
            raise ConfigError("boxes of faces are for the photos of one folder; give that folder alone")
        listed = PhotoFolder(str(given[0]), faces, unlabelled_crop("faces", None, faces)).listed(given[0])
        _say_without_box(given[0], {file for _, file, _ in listed}, results)
        return given[0], [TargetPhoto(name, file, tuple(box.tolist() for box in boxes if box is not None))
                          for name, file, boxes in listed]  # fmt: skip
    files = [file for path in given for file in (_photos(path, results) if path.is_dir() else [path])]
    root = given[0] if len(given) == 1 and given[0].is_dir() else _common(files)
    names = {Path(os.path.relpath(file, root)).as_posix(): file for file in files}
    return root, [TargetPhoto(name, file, (faces,)) for name, file in names.items()]


def _photos(folder: Path, results: Path | None) -> list[Path]:
    found = list_images(folder)
    kept = found if results is None else [file for file in found if results not in file.resolve().parents]
    if len(kept) < len(found):
        note(f"{many(len(found) - len(kept), 'picture')} in {results}, the folder of the results, passed over")
    if not kept:
        raise DataError(f"{folder} holds no photos beside those in {results}, the folder of the results")
    return kept


def _say_without_box(folder: Path, listed: set[Path], results: Path | None) -> None:
    without = [file.relative_to(folder).as_posix() for file in _photos(folder, results) if file not in listed]
    if without:
        note(f"{many(len(without), 'photo')} without a box, passed over: {some(without)}")


def _common(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))


class OpenedFace(NamedTuple):
    """A face: its name, that of the photo with ``#1``, ``#2``, ... where it has several boxes; crop, and given box."""

    name: str
    crop: FaceCrop
    box: Sequence[float] | None


@dataclass
class OpenedPhoto:
    """A photo and its faces.

    Attributes:
        photo: as it was given.
        size: width and height in pixels; None if it cannot be read.
        faces: that were cropped.
        passed_over: why the photo, or faces of it, were passed over; empty if none was.
    """

    photo: TargetPhoto
    size: tuple[int, int] | None = None
    faces: list[OpenedFace] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def opened(eyes: FaceEmbedder, photos: Sequence[TargetPhoto], workers: int = 2) -> Iterator[list[OpenedPhoto]]:
    """Yield photos with their faces, in batches, and read the next batch meanwhile.

    Photos that cannot be read, and faces that are not found, are passed over and say why.

    Args:
        eyes: crops and finds the faces.
        photos: to open.
        workers: threads that read.
    """
    batches = [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        ahead: list[list[Future[Any]]] = [[pool.submit(_read, photo) for photo in batch] for batch in batches[:1]]
        for batch, following in zip(batches, (*batches[1:], []), strict=False):
            ahead.append([pool.submit(_read, photo) for photo in following])
            images = [future.result() for future in ahead.pop(0)]
            yield _with_faces(eyes, batch, images)


def _read(photo: TargetPhoto) -> NDArray[np.uint8] | DataError:
    try:
        return open_photo(photo.file)
    except DataError as error:
        return error


def _with_faces(
    eyes: FaceEmbedder, batch: Sequence[TargetPhoto], images: Sequence[NDArray[np.uint8] | DataError]
) -> list[OpenedPhoto]:
    pairs = list(zip(batch, images, strict=True))
    found = eyes.look_for(
        [None if isinstance(image, DataError) or "auto" not in photo.faces else image for photo, image in pairs]
    )
    result = []
    for (photo, image), square in zip(pairs, found, strict=True):
        one = OpenedPhoto(photo)
        result.append(one)
        if isinstance(image, DataError):
            one.passed_over.append(str(image))
            continue
        one.size = image.shape[1], image.shape[0]
        for k, where in enumerate(photo.faces, 1):
            name = photo.name if len(photo.faces) == 1 else f"{photo.name}#{k}"
            try:
                face = eyes.crop(image, where, name, square)
            except DataError as error:
                reason = str(error)
                one.passed_over.append(reason if name in reason else f"{name}: {reason}")
                continue
            one.faces.append(OpenedFace(name, face, None if isinstance(where, str) else where))
    return result
