"""The one shape in which every reader of annotated faces hands out its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray


class FaceItem(TypedDict):
    """One annotated face.

    ``image``: (H, W, 3) uint8 RGB. ``points``: (K, 2) float32, x then y, pixels of ``image`` with pixel centres
    at integers. ``visible``: (K,) bool. ``name``: unique within its dataset.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    name: str


@dataclass(frozen=True)
class FaceAnnotation:
    """What is known of a face without opening its picture.

    Attributes:
        name: unique within its dataset; several faces of one picture have names of their own.
        image: the picture's file.
        points: (K, 2) float32, x then y, pixels of the picture with pixel centres at integers.
        visible: (K,) bool: labelled. The coordinates of other points mean nothing (zeros, as a rule).
        box: (4,) float32 x0, y0, x1, y1 of the face (or of the animal), where the data set has one.
        group: species, category or subset, by the data set's own name; empty where there is none.
        source: file and row it was read from, for messages.
    """

    name: str
    image: Path
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box: NDArray[np.float32] | None = None
    group: str = ""
    source: str = ""


class FaceDataset(Protocol):
    """A reader of annotated faces on disk: a list of annotations, and the pictures on demand."""

    #: Name of the landmark scheme (``dife_lightning.faces.schemes``).
    scheme: str
    #: Name of the dataset, as in ``load_dataset(name, root)``.
    name: str

    @property
    def annotations(self) -> Sequence[FaceAnnotation]:
        """All faces, in the data set's order."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FaceItem: ...
