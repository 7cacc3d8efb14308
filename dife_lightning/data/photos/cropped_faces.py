"""Square crops of a reader's faces, and which faces an evaluation can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.table import OR_SKIP
from dife_lightning.errors import DataError
from dife_lightning.faces.image_info import shown_size
from dife_lightning.faces.items import FaceAnnotation, FaceDataset, FaceItem, crop_of
from dife_lightning.faces.landmark_sets import ALL_POINTS as ALL_POINTS
from dife_lightning.faces.landmark_sets import landmark_set, set_points
from dife_lightning.faces.schemes import Scheme
from dife_lightning.geometry.affine_crops import affine_crop, compose_affine, invert_affine, map_points
from dife_lightning.geometry.crops import CropError, CropOptions, Square, crop_image, face_square
from dife_lightning.world.scene.framing import Framing

#: Reasons of :func:`why_unusable`: a labelled point is not in the image of the face.
OUTSIDE = ("a point outside the picture", "a point outside the crop")


class CroppedFaces:
    """Square crops of a reader's faces, ``size`` pixels wide, with the scheme's points in their pixels.

    ``landmarks`` is the landmark set that a crop is placed by: a protocol, ``all`` points of the scheme, or names of
    points separated by commas.

    Raises:
        ConfigError: unknown scheme or protocol, or a scheme that does not serve it.
    """

    def __init__(
        self, faces: FaceDataset, size: int, options: CropOptions | None = None, landmarks: str = ALL_POINTS
    ) -> None:
        self.faces, self.size, self.landmarks = faces, size, landmarks
        self.options = options or CropOptions()
        self.scheme, self.name = faces.scheme, faces.name
        if landmarks != ALL_POINTS:
            count = len(faces.annotations[0].points) if len(faces) else 0
            set_points(np.zeros((count, 2), np.float32), np.zeros(count, bool), faces.scheme, landmarks)

    def __len__(self) -> int:
        return len(self.faces)

    def picture(self, index: int) -> Path:
        """Return the file of the picture that face ``index`` is in."""
        return self.faces.annotations[index].image

    def __getitem__(self, index: int) -> FaceItem:
        """Read and crop face ``index``; a point outside the crop is not visible.

        Raises:
            DataError: the face cannot be cropped, or its picture cannot be read.
        """
        return self.framed(index, None)

    def framed(self, index: int, framing: Framing | None) -> FaceItem:
        """Read and crop face ``index``, and turn, scale and move the crop as ``framing`` says.

        The pixels are taken from the picture at once, also those that the plain crop does not show. Raises what
        indexing does.
        """
        item = self.faces[index]
        points, visible, image = item["points"], item["visible"], item["image"]
        square = self._square(index, points, visible, (image.shape[1], image.shape[0]))
        if framing is None:
            moved, to_picture = square.to_crop(points, self.size), square.matrix(self.size)
            cropped = crop_image(image, square, self.size, self.options.padding)
        else:
            to_picture = compose_affine(square.matrix(self.size), invert_affine(framing.matrix(self.size)))
            moved = map_points(invert_affine(to_picture), points)
            cropped = affine_crop(image, to_picture, self.size, self.options.padding)
        return FaceItem(
            image=cropped,
            points=moved,
            visible=visible & inside(moved, self.size),
            name=item["name"],
            crop=crop_of(item).inner(to_picture),
        )

    def square(self, index: int) -> Square:
        """Return the plain crop of face ``index`` in its picture, of which only the header is read."""
        face = self.faces.upright(index)
        return self._square(index, face.points, face.visible, shown_size(face.image))

    def _square(
        self, index: int, points: NDArray[np.float32], visible: NDArray[np.bool_], size: tuple[int, int]
    ) -> Square:
        used = crop_landmarks(points, visible, self.scheme, self.landmarks)
        box = self.faces.upright(index).box
        try:
            return face_square(*used, size, self.options, landmarks=self.landmarks, box=box)
        except CropError as error:
            raise DataError(f"{_place(self.faces.annotations[index])}: {error}") from None


def crop_landmarks(
    points: NDArray[np.float32], visible: NDArray[np.bool_], scheme: str | Scheme, landmarks: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the points (P, 2) and visibility (P,) of the landmark set that a crop is placed by."""
    return (points, visible) if landmarks == ALL_POINTS else set_points(points, visible, scheme, landmarks)


def inside(points: NDArray[np.float32], width: int, height: int | None = None) -> NDArray[np.bool_]:
    """Return (K,) which of ``points`` (K, 2) are inside a picture of ``width`` x ``height`` (default: a square)."""
    limits = np.array([width, width if height is None else height]) - 0.5
    return np.asarray(((points >= -0.5) & (points <= limits)).all(axis=-1))


def why_unusable(faces: FaceDataset, index: int, landmarks: str, options: CropOptions) -> str:
    """Return why a face cannot be used in a pair; empty if it can. Equal reasons have equal words, to be counted.

    All points of the protocol ``landmarks`` must be labelled and inside both picture and crop, and the crop must not be
    too small. With ``all``, this holds for the labelled points. DataError if the picture's header cannot be read.
    """
    annotation = faces.annotations[index]
    _, visible = crop_landmarks(annotation.points, annotation.visible, faces.scheme, landmarks)
    if landmarks != ALL_POINTS and not visible.all():  # before the picture's header is read
        return f"{landmark_set(faces.scheme, landmarks)[0][int(np.argmin(visible))]} not labelled"
    annotation = faces.upright(index)
    points, _ = crop_landmarks(annotation.points, annotation.visible, faces.scheme, landmarks)
    try:
        size = shown_size(annotation.image)
    except DataError as error:
        raise DataError(f"{_place(annotation)}: {str(error).rstrip('.')}; {OR_SKIP}") from None
    if not inside(points[visible], *size).all():
        return OUTSIDE[0]
    try:
        square = face_square(points, visible, size, options, landmarks=landmarks, box=annotation.box)
    except CropError as error:
        return error.reason
    return "" if inside(square.to_crop(points[visible], 1), 1).all() else OUTSIDE[1]


def _place(annotation: FaceAnnotation) -> str:
    return f"{annotation.name} ({annotation.source})" if annotation.source else annotation.name
