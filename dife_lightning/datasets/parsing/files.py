"""What all readers of annotated pictures on disk have in common."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dife_lightning.datasets.parsing.checks import drop_missing, drop_repeats, drop_unfinite
from dife_lightning.datasets.parsing.faults import OR_SKIP, Faults, LeftOut
from dife_lightning.datasets.parsing.pictures import check_inside, upright
from dife_lightning.datasets.parsing.table import FaceTable
from dife_lightning.errors import DataError, MissingDataError
from dife_lightning.faces.image_info import check_whole, image_info_cache, shown_size
from dife_lightning.faces.images import read_image
from dife_lightning.faces.items import FaceAnnotation, FaceDataset, FaceItem, PictureCrop

#: Faults that a result names; of the others it has the number.
_NAMED = 5


class FaceFiles:
    """Faces whose annotations are in memory and whose pictures are read one by one, when they are asked for.

    A reader parses its files into a :class:`FaceTable` and hands it over. Nothing changes afterwards: an item is a
    function of its index, and the dataset can be sent to worker processes.

    Faces without a labelled point are passed over; ``facts`` has their number.

    Args:
        table: all faces that were chosen.
        faults: that were met so far, and whether faces with faults are left out.
        facts: what a result should record of how the faces were chosen, besides the counts.

    Raises:
        DataError: no face is left; or, unless faults are skipped, a point is not finite, a face is there twice or its
            picture is missing. With ``faults.skip`` every picture is opened to see whether it is sound, once in its
            life (``frames.py``).
    """

    #: Name for ``load_dataset``.
    name: str = ""
    #: Name of the landmark scheme.
    scheme: str = ""

    def __init__(self, table: FaceTable, faults: Faults, facts: Mapping[str, Any] | None = None) -> None:
        labelled = table.where(np.any(table.visible, axis=-1))
        unlabelled, table, chosen = len(table) - len(labelled), labelled, len(labelled)
        for check in (drop_unfinite, drop_repeats, drop_missing):
            table = check(table, faults)
        self._table = table
        if faults.skip:
            self._table = self._without_unreadable(faults)
        if not len(self._table):
            raise DataError(_nothing_left(table, chosen, faults.left_out))
        #: Faces that were left out with ``skip_broken``, and why.
        self.left_out: tuple[LeftOut, ...] = tuple(faults.left_out)
        #: For the record of a result: options and counts, as plain values.
        self.facts: dict[str, Any] = {"dataset": self.name, **(facts or {}), "faces": len(self._table)}
        self.facts |= {"left_out": len(self.left_out), "unlabelled": unlabelled}
        if self.left_out:
            self.facts["first_left_out"] = [f"{left.source}: {left.reason}" for left in self.left_out[:_NAMED]]
            self._warn()

    @property
    def annotations(self) -> Sequence[FaceAnnotation]:
        """All faces in the data set's order, as the files have them; no picture is opened.

        Where a picture's EXIF header turns it, the points may be of the stored picture: see :meth:`upright`.
        """
        return self._table

    def upright(self, index: int) -> FaceAnnotation:
        """Return annotation ``index`` in pixels of the picture as ``dataset[index]`` gives it.

        Differs from ``annotations[index]`` only where an annotation file that states picture sizes shows that its
        points are of the stored, not of the turned picture. The picture's header is read if sizes are stated.

        Raises:
            DataError: the picture cannot be opened, or has another size than stated.
        """
        try:
            return self._upright(self._checked(index))
        except DataError as error:
            raise self._located(index, error) from None

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> FaceItem:
        """Read face ``index``; negative indices count from the end.

        Raises:
            DataError: the picture is missing, damaged or of another size, or points lie far outside it.
        """
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
        """Return the error with the place that the face was read from."""
        return DataError(f"{self._table.source(index)}: {str(error).rstrip('.')}; {OR_SKIP}")

    def _upright(self, index: int) -> FaceAnnotation:
        face = self._table[index]
        sizes = self._table.sizes
        if sizes is None or not sizes[index].all():
            return face
        return upright(face, int(sizes[index, 0]), int(sizes[index, 1]))

    def _read(self, index: int) -> FaceItem:
        face = self._upright(index)
        image = read_image(face.image)
        height, width = image.shape[:2]
        check_inside(face, width, height)
        crop = PictureCrop(self._table.images[index], width, height, np.eye(2, 3))
        return {"image": image, "points": face.points, "visible": face.visible, "name": face.name, "crop": crop}

    def _check(self, index: int) -> None:
        """Raise what :meth:`_read` would."""
        face = self._upright(index)
        check_whole(face.image)
        check_inside(face, *shown_size(face.image))

    def _without_unreadable(self, faults: Faults) -> FaceTable:
        broken = set()
        with image_info_cache():
            for row in range(len(self._table)):
                try:
                    self._check(row)
                except DataError as error:
                    broken.add(row)
                    faults.add(self._table.source(row), str(error))
        return self._table.where([row not in broken for row in range(len(self._table))])

    def _warn(self) -> None:
        # Imported here, because Lightning takes seconds and most data sets are sound.
        from lightning.pytorch.utilities import rank_zero_warn

        rank_zero_warn(f"{self.name}: {told_left_out(self.facts)}")


def told_left_out(facts: Mapping[str, Any]) -> str:
    """Return one line on what a reader left out, from its ``facts``; empty where that is nothing."""
    count = facts.get("left_out", 0)
    first = next(iter(facts.get("first_left_out", ())), "")
    return f"{count} face{'' if count == 1 else 's'} left out, the first: {first}" if count else ""


def _nothing_left(table: FaceTable, chosen: int, left_out: Sequence[LeftOut]) -> str:
    first = f"; the first: {left_out[0].source}: {left_out[0].reason}" if left_out else ""
    return (
        f"{table.file}: no face is left ({chosen} chosen, {len(left_out)} left out{first}). Choose otherwise, or check "
        "the files."
    )


if TYPE_CHECKING:
    _KEEPS_THE_CONTRACT: type[FaceDataset] = FaceFiles


def root_folder(root: str | Path) -> Path:
    """Return the folder that a user gave as the root of a data set.

    Raises:
        DataError: there is no such folder.
    """
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise MissingDataError(
            f"no folder {folder}. Give the folder that holds the data set (docs/datasets.md shows its tree)."
        )
    return folder
