"""Landmarks carried to many photos: in batches, with a record of each photo, so that an interrupted job goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.applications.landmark_transfer import CarriedFace, LandmarkTransfer
from dife_lightning.applications.photo_lists import BATCH, OpenedPhoto, TargetPhoto, opened
from dife_lightning.callbacks._found_faces import FoundFace
from dife_lightning.errors import ConfigError
from dife_lightning.faces.items import PictureCrop
from dife_lightning.geometry.crops import Square
from dife_lightning.utils.files import atomic_write, sha256, write_json
from dife_lightning.utils.notes import some

#: What is written of a photo: its faces, or why it was passed over.
Entry = dict[str, Any]
ENTRY = ("photo", "state", "size", "passed_over", "faces")


class Results:
    """The results in a folder; one that somebody has changed since it was written is not replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "written.json"

    def known(self) -> dict[str, str | None]:
        """Return the hash of each file that was written and is still there, by its path below the folder.

        It is None for a file that was being replaced when a command was interrupted.
        """
        try:
            known = dict(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}
        root = self.folder.resolve()
        places = {name: (root / str(name)).resolve() for name in known}  # the file may be somebody else's
        return {name: known[name] for name, place in places.items() if place.is_file() and place.is_relative_to(root)}

    def check(self) -> None:
        """Raise ConfigError if a file is not as it was written."""
        known = self.known()
        changed = [
            name for name, content in known.items() if content is not None and sha256(self.folder / name) != content
        ]
        if changed:
            raise ConfigError(
                f"{self.folder}: {some(changed)} changed since written; move what you corrected to a folder of its "
                "own, or add --overwrite to replace it"
            )

    def begin(self) -> None:
        """Say that the files are being replaced, so that they need not be as they were after an interruption."""
        write_json(self.path, dict.fromkeys(self.known()))

    def remember(self, files: Sequence[Path]) -> None:
        """Keep what the content of files is; earlier files that are not among them are removed."""
        names = {file.relative_to(self.folder).as_posix() for file in files}
        for name in self.known().keys() - names:
            (self.folder / name).unlink()
        write_json(self.path, {file.relative_to(self.folder).as_posix(): sha256(file) for file in files})


class Journal:
    """What was found on each photo, one JSON line a photo, written as soon as it is found.

    Args:
        path: of the file.
        settings: plain values that the result depends on. A file with other settings belongs to another job.
        overwrite: replace the file of another job.

    Raises:
        ConfigError: the file belongs to another job, is none of this form, or a result was changed.

    Attributes:
        results: that were written from it.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path, self._entries = path, dict[str, Entry]()
        head = json.dumps({"settings": settings}, sort_keys=True)
        known = path.is_file() and not overwrite
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if known else []
        if lines and not lines[0].startswith('{"settings": '):
            raise ConfigError(f"{path} is no record of `dife transfer`; choose another --out, or add --overwrite")
        complete = lines[1:-1]  # the last line is empty, or was cut off by an interruption
        if complete and lines[0] != head:
            raise ConfigError(
                f"{path.parent} holds landmarks of other photos, sources or options; choose another --out, or add "
                "--overwrite"
            )
        self.results = Results(path.parent)
        if not overwrite:
            self.results.check()
        for line in complete:
            self._take(line)
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in (head, *complete)), encoding="utf-8")

    def _take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._entries[entry["photo"]] = {key: entry[key] for key in ENTRY}
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{self.path} is damaged; add --overwrite to start anew") from None

    def has(self, photo: TargetPhoto) -> bool:
        """Return whether a photo is done, and its file is as it was."""
        entry = self._entries.get(photo.name)
        return entry is not None and entry["state"] == photo.state and entry["size"] is not None

    def add(self, entries: Sequence[Entry]) -> None:
        """Append entries."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries))
        self._entries |= {entry["photo"]: entry for entry in entries}

    def passed_over(self, photo: TargetPhoto) -> list[str]:
        """Return why a photo, or faces in it, were passed over; empty if none was."""
        return list(self._entries[photo.name]["passed_over"])

    def earlier(self, root: Path, photos: Sequence[TargetPhoto]) -> list[TargetPhoto]:
        """Return photos below ``root`` that are done, unchanged, and not among ``photos``."""
        found = [TargetPhoto(name, root / name, ()) for name in self._entries.keys() - {one.name for one in photos}]
        return sorted((one for one in found if self.has(one)), key=lambda one: one.name)

    def of(self, photo: TargetPhoto) -> Entry:
        """Return the entry of a photo that is done."""
        return self._entries[photo.name]


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
    for batch in opened(carry.eyes, todo, workers):
        journal.add(_entries(carry, batch))
        done(len(batch))


def _entries(carry: LandmarkTransfer, batch: Sequence[OpenedPhoto]) -> list[Entry]:
    """Return what is written of the photos of a batch."""
    faces = [face.crop for one in batch for face in one.faces]
    parts = [faces[start : start + BATCH] for start in range(0, len(faces), BATCH)]
    carried = iter([found for part in parts for found in carry.carry(part)])
    return [
        {
            "photo": one.photo.name,
            "state": one.photo.state,
            "size": one.size,
            "passed_over": one.passed_over,
            "faces": [{"name": face.name, "box": face.box, **_plain(next(carried))} for face in one.faces],
        }
        for one in batch
    ]


def _plain(carried: CarriedFace) -> Entry:
    square, score = carried.face.square, carried.face.score
    return {
        "square": [square.x, square.y, square.side],
        "how": carried.face.how,
        "likeness": None if score != score else round(score, 4),
        "points": [_numbers(point, 2) for point in carried.points],
        "confidence": _numbers(carried.confidence),
        "cycle_error": _numbers(carried.cycle_error),
        "matched": carried.matched.tolist(),
    }


def _numbers(values: NDArray[np.float32], decimals: int = 4) -> list[float | None]:
    """Return numbers as JSON has them, None for NaN."""
    return [None if value != value else value for value in values.astype(float).round(decimals).tolist()]


def found_faces(journal: Journal, photos: Sequence[TargetPhoto], size: int) -> list[FoundFace]:
    """Return the faces of the photos that are done, in the form in which landmarks are written; ``size`` of a crop."""
    found = []
    for photo in photos:
        entry = journal.of(photo)
        for face in entry["faces"]:
            width, height = entry["size"]
            crop = PictureCrop(photo.name, width, height, Square(*face["square"]).matrix(size))
            points, confidence, cycle = (np.array(face[key], float) for key in ("points", "confidence", "cycle_error"))
            box = None if face["box"] is None else crop.image_points(np.reshape(face["box"], (2, 2))).ravel()
            found.append(
                FoundFace(
                    name=face["name"],
                    crop=crop,
                    size=size,
                    file=photo.file,
                    box=np.full(4, np.nan, np.float32) if box is None else box.astype(np.float32),
                    detected=crop.image_points(points).astype(np.float32),
                    peaks=np.nan_to_num(confidence).astype(np.float32),
                    flip_shift=float("nan"),
                    grey=np.zeros(0, np.float32),
                    sure=np.array(face["matched"], bool),
                    cycle_error=np.nan_to_num(cycle).astype(np.float32),
                    likeness=face["likeness"],
                )
            )
    return found
