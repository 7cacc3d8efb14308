"""What all readers of annotated pictures on disk share."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dife_lightning.datasets.parsing.pictures import check_inside, sizes_exchanged, upright
from dife_lightning.datasets.parsing.table import OR_SKIP, FaceTable, Faults, LeftOut, sound_faces
from dife_lightning.datasets.parsing.turned import PointsOf, settle_turned
from dife_lightning.errors import ConfigError, DataError, MissingDataError, did_you_mean
from dife_lightning.faces.image_info import check_whole, image_info_cache, shown_size
from dife_lightning.faces.images import read_image
from dife_lightning.faces.items import FaceAnnotation, FaceDataset, FaceItem, PictureCrop
from dife_lightning.faces.schemes import Scheme
from dife_lightning.utils.notes import note

#: Skipped faces that a result lists; of the others it has the number.
_LISTED = 5


class FaceFiles:
    """Faces whose annotations are in memory and whose pictures are read on demand.

    A reader parses its files into a :class:`FaceTable`. Nothing changes afterwards: an item is a function of its index,
    and the data set can be sent to worker processes. Faces without a labelled point are dropped and counted in
    ``facts``.

    Args:
        table: all selected faces.
        faults: reported so far; also whether faces with faults are skipped, and notes for the user.
        facts: how the faces were selected, for the record of a result.
        points_of: which picture the points are of, where an EXIF header turns it; see :func:`settle_turned`. By default
            no picture is opened, and ``upright`` decides.

    Raises:
        ConfigError: a reader's option has an unknown value.
        DataError: a file is missing or has another form; no usable face; or, unless faults are skipped, a point that is
            not finite, a face listed twice, or a missing picture. With ``faults.skip`` every picture is also decoded,
            which the cache remembers (``faces.image_info``).
    """

    #: Name for ``load_dataset``.
    name: str = ""
    #: The landmark scheme: its name, or a scheme of the user's own.
    scheme: str | Scheme = ""

    def __init__(
        self,
        table: FaceTable,
        faults: Faults,
        facts: Mapping[str, Any] | None = None,
        points_of: PointsOf | None = None,
    ) -> None:
        labelled = table.where(np.any(table.visible, axis=-1))
        if len(labelled) < len(table):
            faults.say(f"{len(table) - len(labelled)} of {len(table)} annotations have no labelled point: passed over")
        self._table = sound_faces(labelled, faults)
        if points_of is not None:
            self._table = settle_turned(self._table, points_of, faults)
        self._told_exchanged = False
        for text in faults.notes:
            note(f"{self.name}: {text}")
        if faults.skip:
            self._table = self._without_unreadable(faults)
        if not len(self._table):
            skipped = faults.left_out
            first = f" (the first: {skipped[0].source}: {skipped[0].reason})" if skipped else ""
            found = f"{len(labelled)} selected, {len(skipped)} skipped{first}"
            raise DataError(f"{table.file}: no usable faces: {found}; relax the filters or check the files.")
        #: Faces that were skipped with ``skip_broken``, and why.
        self.left_out: tuple[LeftOut, ...] = tuple(faults.left_out)
        #: For the record of a result: options and counts, as plain values.
        self.facts: dict[str, Any] = {"dataset": self.name, **(facts or {}), "faces": len(self._table)}
        self.facts |= {"left_out": len(self.left_out), "unlabelled": len(table) - len(labelled)}
        if isinstance(self.scheme, Scheme):
            self.facts |= {"scheme": self.scheme.name, "landmarks": list(self.scheme.landmarks)}
        if faults.notes:
            self.facts["notes"] = list(faults.notes)
        if self.left_out:
            self.facts["first_left_out"] = [f"{left.source}: {left.reason}" for left in self.left_out[:_LISTED]]
            self._warn()

    @property
    def annotations(self) -> Sequence[FaceAnnotation]:
        """All faces in the data set's order, as the files have them; no picture is opened.

        Where the EXIF header rotates a picture, the points may be those of the stored picture: see :meth:`upright`.
        """
        return self._table

    def upright(self, index: int) -> FaceAnnotation:
        """Return annotation ``index`` in pixels of the picture as ``dataset[index]`` gives it.

        This differs from ``annotations[index]`` only if the annotation file states picture sizes and they show that its
        points are those of the stored, not of the rotated picture. Then the picture's header is read; DataError if it
        cannot be opened, or has another size than stated.
        """
        try:
            return self._upright(self._checked(index))
        except DataError as error:
            raise self._located(index, error) from None

    @property
    def folder(self) -> Path:
        """Folder of the pictures."""
        return self._table.folder

    def listed_picture(self, index: int) -> str:
        """Return the path of face ``index``'s picture below the folder of the pictures, with forward slashes."""
        return self._table.images[index]

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> FaceItem:
        """Read face ``index``; DataError if its picture is damaged or of another size, or points lie far outside it."""
        try:
            return self._read(self._checked(index))
        except DataError as error:
            raise self._located(index, error) from None

    def __iter__(self) -> Iterator[FaceItem]:
        return (self[index] for index in range(len(self)))

    def _checked(self, index: int) -> int:
        try:
            return range(len(self))[operator.index(index)]
        except IndexError:
            raise IndexError(f"index {index} of a data set of {len(self)}") from None

    def _located(self, index: int, error: DataError) -> DataError:
        """Return the error with the file and row of the face."""
        return DataError(f"{self._table.source(index)}: {str(error).rstrip('.')}; {OR_SKIP}")

    def _upright(self, index: int) -> FaceAnnotation:
        face = self._table[index]
        sizes = self._table.sizes
        if sizes is None or not sizes[index].all():
            return face
        width, height = int(sizes[index, 0]), int(sizes[index, 1])
        try:
            return upright(face, width, height)
        except DataError:
            if not sizes_exchanged(face, width, height):
                raise
        if not self._told_exchanged:
            self._told_exchanged = True
            note(f"{self.name}: width and height are exchanged in {self._table.file} ({face.image.name}: {width} x "
                 f"{height}, it is {height} x {width}); the points are taken as they are")  # fmt: skip
        return face

    def _read(self, index: int) -> FaceItem:
        face = self._upright(index)
        image = read_image(face.image)
        height, width = image.shape[:2]
        check_inside(face, width, height)
        crop = PictureCrop(self._table.images[index], width, height, np.eye(2, 3))
        return {"image": image, "points": face.points, "visible": face.visible, "name": face.name, "crop": crop}

    def _without_unreadable(self, faults: Faults) -> FaceTable:
        """Report faces that :meth:`_read` could not read."""
        readable = np.ones(len(self._table), bool)
        with image_info_cache():
            for row in range(len(self._table)):
                try:
                    face = self._upright(row)
                    check_whole(face.image)
                    check_inside(face, *shown_size(face.image))
                except DataError as error:
                    readable[row] = False
                    faults.add(self._table.source(row), str(error))
        return self._table.where(readable)

    def _warn(self) -> None:
        # Imported here because Lightning takes seconds to import, and most data sets need no warning.
        from lightning.pytorch.utilities import rank_zero_warn

        rank_zero_warn(f"{self.name}: {skipped_faces(self.facts)}")


def skipped_faces(facts: Mapping[str, Any]) -> str:
    """Return one line on the faces that a reader skipped, from its ``facts``; empty if there are none."""
    count = facts.get("left_out", 0)
    first = next(iter(facts.get("first_left_out", ())), "")
    return f"{count} face{'' if count == 1 else 's'} skipped, the first: {first}" if count else ""


if TYPE_CHECKING:
    _KEEPS_THE_CONTRACT: type[FaceDataset] = FaceFiles


def root_folder(root: str | Path) -> Path:
    """Return the folder that a user gave as the root of a data set; DataError if there is no such folder."""
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise MissingDataError(
            f"no folder {folder}. Give the folder that holds the data set (docs/datasets.md shows its tree)."
        )
    return folder


def only_file(folder: Path, pattern: str, what: str) -> Path:
    """Return the only file of ``folder`` that fits ``pattern``; DataError if there is none, or several."""
    paths = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if not paths:
        raise MissingDataError(f"no {what} ({pattern}) in {folder}; give it with --file.")
    if len(paths) > 1:
        raise DataError(f"{folder} has {len(paths)} files {pattern}, expected one {what}; choose one with --file.")
    return paths[0]


def choose(dataset: str, option: str, value: str, known: Iterable[str]) -> None:
    """Raise ConfigError unless ``value`` is one of the ``known`` values of a reader's option."""
    names = list(known)
    if value not in names:
        raise ConfigError(f"{dataset}: unknown {option} '{value}'. {did_you_mean(str(value), names)}")


def as_list(value: Any) -> list[Any]:
    """Return one value or several as a list; an empty list for None."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
