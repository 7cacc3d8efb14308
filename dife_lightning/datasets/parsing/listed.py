"""Faces of any reader's file as they are listed, without looking for their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.datasets.parsing.table import RELATIVE, FaceTable, Faults, are_relative
from dife_lightning.datasets.parsing.turned import PointsOf, settle_turned
from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceAnnotation


class ListedFaces(FaceFiles):
    """Stands between a reader and :class:`FaceFiles`: ``class Listed(Reader, ListedFaces)`` keeps the table as parsed.

    No picture is looked for, and no face is dropped.
    """

    def __init__(
        self,
        table: FaceTable,
        faults: Faults,
        facts: Mapping[str, Any] | None = None,
        points_of: PointsOf | None = None,
    ) -> None:
        self._table, self._told_exchanged = table, False
        self.faults, self.points_of = faults, points_of

    @property
    def table(self) -> FaceTable:
        """All faces of the file."""
        return self._table

    def on(self, folder: Path, found: Mapping[str, str]) -> Iterator[tuple[str, FaceAnnotation]]:
        """Yield the faces whose listed picture is in ``found``, each with the path that the picture has there.

        Points are those of the picture as viewers show it, and the key of the table is the name.

        DataError if a picture has another size than the file states, or no face is in pixels.
        """
        rows = [row for row, image in enumerate(self._table.images) if image in found]
        listed, table = self._table, self._table.take(rows)
        table = table.changed(folder=folder, images=[found[image] for image in table.images], names=table.keys)
        if rows and are_relative(table).all():
            raise DataError(f"{table.source(0)}: {RELATIVE}.")
        if self.points_of is not None:
            table = settle_turned(table, self.points_of, self.faults)
        self._table = table
        try:
            for row in range(len(table)):
                try:
                    yield table.images[row], self._upright(row)
                except DataError as error:
                    raise DataError(f"{table.source(row)}: {str(error).rstrip('.')}; expected points in pixels of the "
                                    "original photo.") from None  # fmt: skip
        finally:
            self._table = listed
