"""Annotated faces as every reader returns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from dife_lightning.faces.scheme_tables import Scheme


@dataclass(frozen=True, eq=False)
class PictureCrop:
    """The part of a picture that the image of a face shows.

    Attributes:
        file_name: the picture as its data set lists it: relative to the folder of the pictures, with forward slashes.
        width: of the picture in pixels, as viewers show it (EXIF orientation applied).
        height: likewise.
        to_picture: (2, 3) float64 affine map from pixels of the image to pixels of the picture; pixel centres are at
            integers in both.
    """

    file_name: str
    width: int
    height: int
    to_picture: NDArray[np.float64]

    def inner(self, matrix: NDArray[np.float64]) -> PictureCrop:
        """Return the crop of a further image, whose pixels ``matrix`` (2, 3) maps to pixels of this one."""
        linear, offset = self.to_picture[:, :2], self.to_picture[:, 2]
        composed = np.column_stack((linear @ matrix[:, :2], linear @ matrix[:, 2] + offset))
        return PictureCrop(self.file_name, self.width, self.height, composed)

    def picture_points(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map ``points`` (..., 2), pixels of the image, to pixels of the picture; they may lie outside it."""
        return np.asarray(points, np.float64) @ self.to_picture[:, :2].T + self.to_picture[:, 2]

    def image_points(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map ``points`` (..., 2), pixels of the picture, to pixels of the image: the inverse of ``picture_points``."""
        inverse = np.linalg.inv(self.to_picture[:, :2])
        return (np.asarray(points, np.float64) - self.to_picture[:, 2]) @ inverse.T


class FaceItem(TypedDict):
    """One annotated face.

    ``image``: (H, W, 3) uint8 RGB. ``points``: (K, 2) float32, x then y, pixels of ``image`` with pixel centres
    at integers. ``visible``: (K,) bool. ``name``: unique within its dataset. ``crop``: where ``image`` comes from;
    absent where it is a whole picture (a render) that no file holds.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    name: str
    crop: NotRequired[PictureCrop]


def crop_of(item: FaceItem) -> PictureCrop:
    """Return the crop of a face; by default its image is a whole picture with the name of the face."""
    height, width = item["image"].shape[:2]
    return item.get("crop") or PictureCrop(item["name"], width, height, np.eye(2, 3))


@dataclass(frozen=True)
class FaceAnnotation:
    """Annotation of a face, available without opening its picture.

    Attributes:
        name: unique within its dataset, also for several faces of one picture.
        image: file of the picture.
        points: (K, 2) float32, x then y, pixels of the picture with pixel centres at integers.
        visible: (K,) bool: labelled. Other points have no meaningful coordinates (usually zeros).
        box: (4,) float32 x0, y0, x1, y1 of the face (or of the animal), if the data set has one.
        group: species, category or subset, as the data set names it; may be empty.
        subject: the animal or person, of whom there may be several pictures; empty where it is not known.
        source: file and row that it was read from, for messages.
        occluded: (K,) bool: labelled, but hidden in the picture, if the file says so.
    """

    name: str
    image: Path
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box: NDArray[np.float32] | None = None
    group: str = ""
    source: str = ""
    occluded: NDArray[np.bool_] | None = None
    subject: str = ""


class FaceDataset(Protocol):
    """A reader of annotated faces on disk: annotations in memory, pictures on demand."""

    #: The landmark scheme: its name if it is built in (``dife_lightning.faces.schemes``); ``get_scheme`` takes both.
    scheme: str | Scheme
    #: Name of the dataset, as in ``load_dataset(name, root)``.
    name: str
    #: For the record of a result: options and counts, as plain values.
    facts: dict[str, Any]

    @property
    def annotations(self) -> Sequence[FaceAnnotation]:
        """All faces, in the data set's order."""
        ...

    def upright(self, index: int) -> FaceAnnotation:
        """Return annotation ``index`` in pixels of the picture as it is read (EXIF orientation applied)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FaceItem: ...
