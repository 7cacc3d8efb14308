"""What all applications begin with: an embedder, the size of the images that it takes, and its finder of faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dife_lightning.applications.face_crops import FaceCrop, Photo, Where, crop_face
from dife_lightning.applications.finding import Embeds, Found, load_finder
from dife_lightning.faces.batches import image_tensor
from dife_lightning.pretrained.encoders import load_encoder
from dife_lightning.utils.checks import require

#: Side of the images of an embedder that states none.
SIZE = 96


class NamedEmbedder(Embeds, Protocol):
    """What ``load_encoder`` returns."""

    name: str
    module: nn.Module


def _loaded(model: str) -> NamedEmbedder:
    """Return an embedder on the GPU, if there is one."""
    embedder = load_encoder(model)
    return embedder.to("cuda") if torch.cuda.is_available() else embedder


class FaceEmbedder:
    """Crops faces of photos, and embeds them.

    Args:
        model: a shipped or trained embedder, as ``load_encoder`` takes it.
        size: side in pixels of what the model sees; that of its training by default, 96 if it states none.

    Attributes:
        finder: of faces, for ``auto``; None if none comes with the model, so that ``auto`` takes the whole photo.

    Raises:
        ConfigError: a size below 16.
        AssetError: no such model.
    """

    def __init__(self, model: str | NamedEmbedder = "photos/dife", size: int | None = None) -> None:
        require(at_least=16, size=size)
        self.embedder: NamedEmbedder = _loaded(model) if isinstance(model, str) else model
        self.size = size or int(getattr(self.embedder.module, "size", SIZE))
        self.finder = load_finder(self.embedder.name, self.embedder, self.size)

    def look_for(self, photos: Sequence[NDArray[np.uint8] | None]) -> list[Found | None]:
        """Look for the faces of several photos in one pass; None for None, and for all photos without a finder."""
        found: list[Found | None] = [None] * len(photos)
        wanted = [(k, photo) for k, photo in enumerate(photos) if photo is not None]
        if self.finder is not None:
            for (k, _), face in zip(wanted, self.finder.find([photo for _, photo in wanted]), strict=True):
                found[k] = face
        return found

    def crop(
        self, photo: Photo, where: Where = "auto", name: str | None = None, found: Found | None = None
    ) -> FaceCrop:
        """Return the face of a photo; see ``crop_face``. ``name`` is for messages."""
        called = name or (str(photo) if isinstance(photo, str | Path) else "a photo")
        return crop_face(photo, self.size, where, self.finder, called, found)

    def embed(self, faces: Sequence[FaceCrop]) -> Tensor:
        """Return the embeddings (B, n, h, w) of faces, float32."""
        return self.embedder.embed(image_tensor([face.image for face in faces])).float()
