"""Landmarks carried to many photos: in batches, with a record of each photo, so that an interrupted job goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.face_crops import FaceCrop, Where, crop_face, open_photo
from dife_lightning.applications.landmark_transfer import CarriedFace, LandmarkTransfer
from dife_lightning.callbacks._found_faces import FoundFace
from dife_lightning.data.photos.photo_folder import PhotoFolder, unlabelled_crop
from dife_lightning.errors import ConfigError, DataError, MissingDataError
from dife_lightning.faces.images import list_images
from dife_lightning.faces.items import PictureCrop
from dife_lightning.geometry.crops import Square
from dife_lightning.utils.files import atomic_write

#: Faces that are embedded at once.
BATCH = 16
#: What is written of a photo: its faces, or why it was passed over.
Entry = dict[str, Any]


class TargetPhoto(NamedTuple):
    """A photo to carry landmarks to: its name in the results, its file, and where its faces are."""

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


def target_photos(paths: Sequence[str | Path], faces: str = "auto") -> tuple[Path, list[TargetPhoto]]:
    """Return the folder that names of photos are relative to, and the photos.

    Args:
        paths: photos and folders of photos.
        faces: ``auto``, ``whole``, or a file with the boxes of the faces, COCO or CSV, of the photos of one folder.

    Raises:
        MissingDataError: no such photo or folder.
        DataError: a folder without photos, or boxes of photos that are not there.
        ConfigError: boxes for several folders, or no ``paths``.
    """
    given = [Path(os.path.expanduser(path)) for path in paths]
    missing = next((path for path in given if not path.exists()), None)
    if missing is not None or not given:
        raise MissingDataError(f"no photo or folder '{missing or ''}'. Give photos, or folders that hold them.")
    if faces not in ("auto", "whole"):
        if len(given) > 1 or not given[0].is_dir():
            raise ConfigError("boxes of faces are for the photos of one folder; give that folder alone")
        listed = PhotoFolder(str(given[0]), faces, unlabelled_crop("faces", None, faces)).listed(given[0])
        return given[0], [TargetPhoto(name, file, tuple(box.tolist() for box in boxes if box is not None))
                          for name, file, boxes in listed]  # fmt: skip
    files = [file for path in given for file in (list_images(path) if path.is_dir() else [path])]
    root = given[0] if len(given) == 1 and given[0].is_dir() else _common(files)
    names = {Path(os.path.relpath(file, root)).as_posix(): file for file in files}
    return root, [TargetPhoto(name, file, (faces,)) for name, file in names.items()]


def _common(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))


class Journal:
    """What was found on each photo, one JSON line a photo, written as soon as it is found.

    Args:
        path: of the file.
        settings: plain values that the result depends on. A file with other settings belongs to another job.
        overwrite: replace the file of another job.

    Raises:
        ConfigError: the file belongs to another job, or is none of this form.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path, self._entries = path, dict[str, Entry]()
        head = json.dumps({"settings": settings}, sort_keys=True)
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() and not overwrite else []
        if lines and lines[0] != head and len(lines) > 1:
            raise ConfigError(
                f"{path.parent} holds landmarks of other sources or options; choose another --out, or add --overwrite"
            )
        complete = lines[1:-1]  # the last line is empty, or was cut off by an interruption
        for line in complete:
            self._take(line)
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in (head, *complete)), encoding="utf-8")

    def _take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._entries[entry["photo"]] = entry
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{self.path} is damaged; add --overwrite to start anew") from None

    def has(self, photo: TargetPhoto) -> bool:
        """Return whether a photo is done, and its file is as it was."""
        entry = self._entries.get(photo.name)
        return entry is not None and entry["state"] == photo.state and "unreadable" not in entry

    def add(self, entries: Sequence[Entry]) -> None:
        """Append entries."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries))
        self._entries |= {entry["photo"]: entry for entry in entries}

    def passed_over(self, photo: TargetPhoto) -> str:
        """Return why a photo, or a face in it, was passed over; empty if it was not."""
        entry = self._entries[photo.name]
        return str(entry.get("unreadable") or entry.get("passed_over") or "")

    def of(self, photo: TargetPhoto) -> Entry:
        """Return the entry of a photo that is done."""
        return self._entries[photo.name]


@dataclass(frozen=True)
class _Read:
    """A photo in memory, or why it cannot be read."""

    photo: TargetPhoto
    image: NDArray[np.uint8] | None
    reason: str = ""


def carry_to_photos(
    carry: LandmarkTransfer,
    photos: Sequence[TargetPhoto],
    journal: Journal,
    workers: int = 2,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Carry landmarks to all faces of the photos that the journal lacks, and write it photo by photo.

    Photos that cannot be read, or in which no face is found, are passed over; their entries say why.

    Args:
        carry: the landmarks and their sources.
        photos: to carry them to.
        journal: what is done already.
        workers: threads that read photos while the model works.
        done: told the number of photos after each batch.
    """
    todo = [photo for photo in photos if not journal.has(photo)]
    done(len(photos) - len(todo))
    for batch in _read_ahead(todo, workers):
        journal.add(_entries(carry, batch))
        done(len(batch))


def _read_ahead(photos: Sequence[TargetPhoto], workers: int) -> Iterator[list[_Read]]:
    """Yield photos in batches, and read the next batch meanwhile."""
    batches = [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        ahead: list[list[Future[_Read]]] = [[pool.submit(_read, photo) for photo in batch] for batch in batches[:1]]
        for following in (*batches[1:], []):
            ahead.append([pool.submit(_read, photo) for photo in following])
            yield [future.result() for future in ahead.pop(0)]


def _read(photo: TargetPhoto) -> _Read:
    try:
        return _Read(photo, open_photo(photo.file))
    except DataError as error:
        return _Read(photo, None, str(error))


def _entries(carry: LandmarkTransfer, batch: Sequence[_Read]) -> list[Entry]:
    """Return what is written of the photos of a batch."""
    found = _find_all(carry, batch)
    crops: list[tuple[int, FaceCrop]] = []
    entries: list[Entry] = []
    for k, one in enumerate(batch):
        entry: Entry = {"photo": one.photo.name, "state": one.photo.state}
        entries.append(entry)
        if one.image is None:
            entry["unreadable"] = one.reason
            continue
        entry |= {"width": one.image.shape[1], "height": one.image.shape[0], "faces": []}
        for where in one.photo.faces:
            try:
                face = crop_face(one.image, carry.size, where, carry.finder, one.photo.name, found.get(k))
            except DataError as error:
                entry["passed_over"] = str(error)
            else:
                crops.append((k, face))
    for start in range(0, len(crops), BATCH):
        part = crops[start : start + BATCH]
        for (k, _), carried in zip(part, carry.carry([face for _, face in part]), strict=True):
            entries[k]["faces"].append(_plain(carried))
    return entries


def _find_all(carry: LandmarkTransfer, batch: Sequence[_Read]) -> dict[int, Any]:
    """Return what the finder finds in the photos whose faces are to be found."""
    if carry.finder is None:
        return {}
    looked = {k: one.image for k, one in enumerate(batch) if one.image is not None and "auto" in one.photo.faces}
    return dict(zip(looked, carry.finder.find(list(looked.values())), strict=True))


def _plain(carried: CarriedFace) -> Entry:
    square, score = carried.face.square, carried.face.score
    nothing = [None] * len(carried.points)
    return {
        "square": [square.x, square.y, square.side],
        "how": carried.face.how,
        "likeness": None if score != score else round(score, 4),
        "points": [None if x != x else [x, y] for x, y in carried.points.astype(float).round(2).tolist()],
        "confidence": _numbers(carried.confidence) or nothing,
        "cycle_error": _numbers(carried.cycle_error) or nothing,
        "matched": carried.matched.tolist(),
    }


def _numbers(values: NDArray[np.float32]) -> list[float | None]:
    return [None if value != value else value for value in values.astype(float).round(4).tolist()]


def found_faces(journal: Journal, photos: Sequence[TargetPhoto], size: int) -> list[FoundFace]:
    """Return the faces of the photos that are done, in the form in which landmarks are written; ``size`` of a crop."""
    found = []
    for photo in photos:
        entry = journal.of(photo)
        faces = entry.get("faces", [])
        for k, face in enumerate(faces, 1):
            crop = PictureCrop(photo.name, entry["width"], entry["height"], Square(*face["square"]).matrix(size))
            nothing = [np.nan, np.nan]
            points = np.array([nothing if point is None else point for point in face["points"]], np.float64)
            confidence, cycle = (
                np.array([np.nan if value is None else value for value in face[key]], np.float32)
                for key in ("confidence", "cycle_error")
            )
            found.append(
                FoundFace(
                    name=photo.name if len(faces) == 1 else f"{photo.name}#{k}",
                    crop=crop,
                    size=size,
                    file=photo.file,
                    box=np.full(4, np.nan, np.float32),
                    detected=crop.image_points(points).astype(np.float32),
                    peaks=np.nan_to_num(confidence),
                    flip_shift=float("nan"),
                    grey=np.zeros(0, np.float32),
                    sure=np.array(face["matched"], bool),
                    cycle_error=np.nan_to_num(cycle),
                )
            )
    return found
