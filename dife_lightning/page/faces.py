"""The faces of a page: each photo is read once, and only what a click needs of it is held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.applications.face_crops import FaceCrop
from dife_lightning.applications.face_embedder import FaceEmbedder
from dife_lightning.errors import ConfigError, DataError, DifeError
from dife_lightning.page.photos import PagePhotos

#: Bytes of embeddings that are held. One of photos/dife has 272 KiB, and its crop 12 KiB: 550 photos take 152 MiB.
#: Photos for which a model of larger ones has no room are embedded at each click, from their crops.
ROOM = 2**29
#: Faces that are embedded at once.
CHUNK = 16
#: How far a box may reach out of the photo, relative to its longer side.
BEYOND = 0.5


@dataclass(frozen=True, eq=False)
class Embedding:
    """The embedding of a face: unit vectors (n, h, w), and the lengths (1, h, w) that they had."""

    unit: Tensor
    length: Tensor

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.unit.nbytes + self.length.nbytes


class PageFaces:
    """Finds and embeds the face of each photo once; the squares, crops and embeddings are held, not the photos.

    Args:
        photos: of the page.
        model: a shipped or trained embedder.
        size: side in pixels of what the model sees.

    Raises:
        AssetError: no such model.
    """

    def __init__(self, photos: PagePhotos, model: str, size: int | None) -> None:
        self.photos, self.eyes = photos, FaceEmbedder(model, size)
        self._faces: dict[int, FaceCrop | DataError] = {}  # or why there is none
        self._sizes: dict[int, tuple[int, int]] = {}
        self._embeddings: dict[int, Embedding] = {}
        self._room = ROOM

    def __getitem__(self, number: int) -> FaceCrop:
        """Return the face of a photo, without the photo's pixels; DataError if it cannot be read or shows no face."""
        if number not in self._faces:
            self.photos[number]  # there is one
            try:
                self._faces[number] = self._find(number, "auto")
            except DifeError as error:
                self._faces[number] = DataError(str(error))
        face = self._faces[number]
        if isinstance(face, DataError):
            raise face.with_traceback(None)
        return face

    def size(self, number: int) -> tuple[int, int] | None:
        """Return width and height of a photo that has been read; None if it could not be."""
        return self._sizes.get(number)

    def set_box(self, number: int, box: Sequence[float] | None) -> None:
        """Say where the face of a photo is; None looks for it again.

        Raises:
            ConfigError: no box x0, y0, x1, y1, or one far outside of the photo.
            DataError: a photo that cannot be read, or shows no face.
        """
        self._faces[number] = self._find(number, "auto" if box is None else _corners(box))
        if (old := self._embeddings.pop(number, None)) is not None:
            self._room += old.bytes

    def embeddings(self, numbers: Iterable[int]) -> list[Embedding]:
        """Return the embeddings of faces that were found; they are held as long as there is room."""
        wanted = list(numbers)
        new = [number for number in dict.fromkeys(wanted) if number not in self._embeddings]
        made: dict[int, Embedding] = {}
        for start in range(0, len(new), CHUNK):
            part = new[start : start + CHUNK]
            for number, whole in zip(part, self.eyes.embed([self[number] for number in part]).cpu(), strict=True):
                made[number] = Embedding(F.normalize(whole, dim=0), whole.norm(dim=0, keepdim=True))
                if made[number].bytes <= self._room:
                    self._embeddings[number] = made[number]
                    self._room -= made[number].bytes
        return [made[number] if number in made else self._embeddings[number] for number in wanted]

    def _find(self, number: int, where: Any) -> FaceCrop:
        photo = self.photos[number]
        pixels = photo.read()
        self._sizes[number] = pixels.shape[1], pixels.shape[0]
        if not isinstance(where, str):
            height, width = pixels.shape[:2]
            beyond = BEYOND * max(height, width)
            if min(where[:2]) < -beyond or where[2] > width + beyond or where[3] > height + beyond:
                raise ConfigError(f"a box {where} of a face: {photo.name} has {width} x {height} pixels")
        face = self.eyes.crop(pixels, where, photo.name)
        blank = np.broadcast_to(np.uint8(0), pixels.shape)  # the size of the photo, without its pixels
        return FaceCrop(blank, face.square, face.image, face.how, face.score)


def _corners(box: Any) -> list[float]:
    try:
        corners: NDArray[np.float64] = np.array(box, float)
    except (TypeError, ValueError, OverflowError):
        corners = np.zeros(0)
    if corners.shape != (4,) or not (np.isfinite(corners).all() and (corners[2:] > corners[:2]).all()):
        raise ConfigError("a box of a face: expected x0, y0, x1, y1")
    return corners.tolist()
