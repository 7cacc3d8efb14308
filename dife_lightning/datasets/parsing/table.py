"""Annotated faces as columns: 200,000 of them are parsed, filtered and sent to worker processes in a moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dife_lightning.faces.items import FaceAnnotation


@dataclass(frozen=True, eq=False, kw_only=True)
class FaceTable(Sequence[FaceAnnotation]):
    """N faces of K points each, column by column; an annotation is put together when it is asked for.

    Attributes:
        file: that the faces were read from, or the folder of many such files.
        label: stands between the file and the key in messages, for example ``", row "``.
        keys: (N) row, number or file of each face.
        folder: in which the pictures are.
        images: (N) pictures, relative to ``folder``, with forward slashes.
        names: (N) of the faces.
        points: (N, K, 2) float32, x then y, pixels with centres at integers.
        visible: (N, K) bool.
        boxes: (N, 4) float32 x0, y0, x1, y1, a row of NaN where there is none; or None for none at all.
        groups: (N) species, categories or subsets; or None.
        sizes: (N, 2) width and height of the pictures as the annotation file states them, 0 where it does not; or None.
    """

    file: Path
    label: str
    keys: Sequence[int | str]
    folder: Path
    images: Sequence[str]
    names: Sequence[str]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float32] | None = None
    groups: Sequence[str] | None = None
    sizes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> FaceAnnotation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FaceAnnotation]: ...
    def __getitem__(self, index: int | slice) -> FaceAnnotation | Sequence[FaceAnnotation]:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        box = None if self.boxes is None or np.isnan(self.boxes[index]).any() else self.boxes[index].copy()
        return FaceAnnotation(
            name=self.names[index],
            image=self.folder / self.images[index],
            points=self.points[index].copy(),
            visible=self.visible[index].copy(),
            box=box,
            group="" if self.groups is None else self.groups[index],
            source=self.source(index),
        )

    def source(self, index: int) -> str:
        """Return where face ``index`` was read, for messages."""
        return f"{self.file}{self.label}{self.keys[index]}"

    def take(self, rows: Iterable[int]) -> FaceTable:
        """Return the table of the faces ``rows``, in that order."""
        chosen = list(rows)
        columns: dict[str, Any] = {}
        for name in ("keys", "images", "names", "groups"):
            column = getattr(self, name)
            columns[name] = None if column is None else [column[row] for row in chosen]
        for name in ("points", "visible", "boxes", "sizes"):
            column = getattr(self, name)
            columns[name] = None if column is None else column[chosen]
        return replace(self, **columns)

    def where(self, keep: Sequence[bool] | NDArray[np.bool_]) -> FaceTable:
        """Return the table of the faces for which ``keep`` (N) is true."""
        rows = np.flatnonzero(keep).tolist()
        return self if len(rows) == len(self) else self.take(rows)

    def with_images(self, images: Sequence[str]) -> FaceTable:
        """Return the table with other pictures, relative to its folder."""
        return replace(self, images=images)
