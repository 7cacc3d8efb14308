"""The typed batches that data modules emit and methods take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dife_lightning.faces.items import PictureCrop


def image_tensor(images: ArrayLike) -> Tensor:
    """Return images (B, H, W, 3) uint8, or a list of them, as (B, 3, H, W) float32 in [-1, 1]."""
    return (torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()


class MovableBatch:
    """Base of dataclasses whose tensors Lightning moves to a device and the DataLoader pins."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch with its tensors on ``device``."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch with its tensors in page-locked memory, for a faster copy to a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply ``function`` to all tensors, also to those in dictionaries."""

        def mapped(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: mapped(item) for key, item in value.items()}
            return function(value) if isinstance(value, Tensor) else value

        return type(self)(**{name: mapped(value) for name, value in vars(self).items()})


@dataclass
class DomainBatch:
    """B samples of one domain's generator.

    Attributes:
        images: (B, 3, S, S) in [-1, 1], warped and colour-jittered: what the encoder sees.
        originals: (B, 3, S, S) in [-1, 1], as synthesised.
        features: (B, C, h, h) tapped features, warped as ``images`` are.
        affine: (B, 2, 3) map from pixels of ``originals`` to pixels of ``images``.
        valid: (B, S, S) bool, False for pixels that the warp took from outside the original.
        w: (B, num_ws, w_dim) latents of the samples.
    """

    images: Tensor
    originals: Tensor
    features: Tensor
    affine: Tensor
    valid: Tensor
    w: Tensor

    def first(self, count: int) -> DomainBatch:
        """Return the first ``count`` samples."""
        return DomainBatch(*(getattr(self, f.name)[:count] for f in fields(self)))


@dataclass
class PhotoBatch:
    """B unlabelled photos of one domain, with the attributes of the same names in :class:`DomainBatch`."""

    images: Tensor
    originals: Tensor
    affine: Tensor
    valid: Tensor

    def first(self, count: int) -> PhotoBatch:
        """Return the first ``count`` photos."""
        return PhotoBatch(*(getattr(self, f.name)[:count] for f in fields(self)))


@dataclass
class StreamBatch:
    """One step's samples of all domains; row b of each domain has the stream position ``index[b]``.

    ``photos`` holds the unlabelled photos of each domain that the stream has some of.
    """

    index: Tensor
    domains: dict[str, DomainBatch]
    photos: dict[str, PhotoBatch] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of samples per domain."""
        return len(self.index)

    def first(self, count: int) -> StreamBatch:
        """Return the first ``count`` samples and photos of each domain."""
        samples = {d: rows.first(count) for d, rows in self.domains.items()}
        return StreamBatch(self.index[:count], samples, {d: rows.first(count) for d, rows in self.photos.items()})


@dataclass
class LatentBatch(MovableBatch):
    """Positions, latents and random numbers from a worker; the images are synthesised on the training device.

    Attributes:
        index: (B,) int64 positions in the stream.
        z: per domain (B, z_dim).
        uniform: per domain (B, 9) numbers in [0, 1) for the augmentation.
        photos: per domain that has unlabelled photos (P, 3, M, M) uint8.
        photo_uniform: per such domain (P, 9), as ``uniform``.
    """

    index: Tensor
    z: dict[str, Tensor]
    uniform: dict[str, Tensor]
    photos: dict[str, Tensor] = field(default_factory=dict)
    photo_uniform: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class ClickBatch(MovableBatch):
    """Images (B, 3, S, S) in [-1, 1], clicked ``points`` (B, K, 2) in pixels, ``uv`` (B, K, 2), ``inside`` (B, K)."""

    images: Tensor
    points: Tensor
    uv: Tensor
    inside: Tensor


@dataclass
class AlignedBatch(MovableBatch):
    """B unlabelled photos of aligned faces, warped.

    Attributes:
        images: (B, 3, S, S) in [-1, 1], warped and colour-jittered.
        affine: (B, 2, 3) map from pixels of the aligned photos, also S x S, to pixels of ``images``.
        domain: (B,) int64, number of the photo's species in ``domains``.
        domains: names of the species.
    """

    images: Tensor
    affine: Tensor
    domain: Tensor
    domains: tuple[str, ...]


@dataclass
class RenderBatch(MovableBatch):
    """B annotated faces of the embedded world with dense truth, for supervised methods.

    Attributes:
        images: (B, 3, S, S) in [-1, 1].
        uv: (B, S, S, 2) canonical surface coordinate of each pixel, common to all species; 0 where not ``inside``.
        inside: (B, S, S) bool, True where ``uv`` is known.
        points: (B, K, 2) landmarks, x then y, in pixels of ``images``.
        visible: (B, K) bool, False for landmarks that are hidden or outside the image.
        domain: (B,) int64, number of the face's species in ``domains``.
        index: (B,) int64, position in the stream.
        domains: names of the species.
    """

    images: Tensor
    uv: Tensor
    inside: Tensor
    points: Tensor
    visible: Tensor
    domain: Tensor
    index: Tensor
    domains: tuple[str, ...]


@dataclass
class LandmarkBatch(MovableBatch):
    """B annotated photographs, for supervised methods.

    Attributes:
        images: (B, 3, S, S) in [-1, 1].
        points: (B, K, 2) landmarks, x then y, in pixels of ``images``, in the order of the face's own scheme; K is that
            of the domain with the most.
        visible: (B, K) bool, False for landmarks that are not labelled or outside the image.
        domain: (B,) int64, number of the face's domain in ``domains``.
        index: (B,) int64, position in the stream.
        domains: names of the domains.
    """

    images: Tensor
    points: Tensor
    visible: Tensor
    domain: Tensor
    index: Tensor
    domains: tuple[str, ...]


@dataclass
class PairBatch(MovableBatch):
    """B pairs of one set.

    Points are (B, P, 2), x then y, pixels of the S x S images, in the layout of all protocols (9-point, then 3-point:
    ``schemes.LAYOUT``), and then those of ``own``. Images are (B, 3, S, S) float32 in [-1, 1].
    ``target_crops[b].picture_points(points)`` maps points of target image b to pixels of the original photo.
    """

    source_image: Tensor
    target_image: Tensor
    source_points: Tensor
    target_points: Tensor
    #: (B, P) bool: visible in both images.
    visible: Tensor
    #: (B,) int64, number of the pair in its set.
    index: Tensor
    pair_id: list[str]
    #: Kind of pair, source species first: ``human+dog``.
    pair: str
    framing: str
    list_name: str
    #: (B) where each image comes from; empty where that is not known.
    source_crops: list[PictureCrop] = field(default_factory=list)
    target_crops: list[PictureCrop] = field(default_factory=list)
    #: Names of the points after those of the protocols, with the viewer's left and right.
    own: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pair_id)

    @property
    def species(self) -> tuple[str, str]:
        """Species of the source and of the target."""
        source, _, target = self.pair.partition("+")
        return source, target


@dataclass(frozen=True)
class PairArrays:
    """One prepared pair: uint8 images (S, S, 3), points (P, 2), visible (P,) in both, and the crops of the pictures."""

    source_image: NDArray[np.uint8]
    target_image: NDArray[np.uint8]
    source_points: NDArray[np.float32]
    target_points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    pair_id: str
    source_crop: PictureCrop
    target_crop: PictureCrop


@dataclass
class FaceBatch(MovableBatch):
    """B single faces of one domain, for landmark models.

    Attributes:
        images: (B, 3, S, S) float32 in [-1, 1].
        points: (B, K, 2) landmarks, x then y, in pixels of ``images``, in the order of the set's scheme.
        visible: (B, K) bool, False for landmarks that are not labelled, hidden or outside the image.
        boxes: (B, 4) x0, y0, x1, y1 of the faces in pixels of ``images``; NaN where a face has none. Where an image is
            rotated against its picture, the box is the picture's, moved and scaled, but not rotated.
        index: (B,) int64, number of the face in its set.
        names: of the faces.
        crops: where each image comes from.
        domain: name of the domain.
        list_name: name of the list: ``val`` or ``test``.
    """

    images: Tensor
    points: Tensor
    visible: Tensor
    boxes: Tensor
    index: Tensor
    names: list[str]
    crops: list[PictureCrop]
    domain: str
    list_name: str

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class FaceArrays:
    """One prepared face: image (S, S, 3) uint8, points (K, 2), visible (K,), box (4,) or NaN, name and crop."""

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box: NDArray[np.float32]
    name: str
    crop: PictureCrop


@dataclass
class ImageBatch(MovableBatch):
    """``images`` (B, 3, S, S): uint8 from the loader, float in [-1, 1] for the method; ``number`` of the batch."""

    images: Tensor
    number: int

    def __len__(self) -> int:
        """Return the number of images."""
        return self.images.shape[0]
