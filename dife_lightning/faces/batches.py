"""The typed batches that the streams emit and the methods take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.faces.items import PictureCrop


@dataclass
class DomainBatch:
    """B samples of one domain's generator.

    Attributes:
        images: (B, 3, S, S) in [-1, 1], warped and colour-jittered: what the encoder sees.
        originals: (B, 3, S, S) in [-1, 1], as synthesised.
        features: (B, C, h, h) tapped features under the same warp as ``images``.
        affine: (B, 2, 3) map from pixels of ``originals`` to pixels of ``images``.
        valid: (B, S, S) bool, False where the warp moved in pixels that the original does not have.
        w: (B, num_ws, w_dim) what the generator made the sample of.
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
class StreamBatch:
    """One step's samples of all domains; row b of each domain has the stream position ``index[b]``."""

    index: Tensor
    domains: dict[str, DomainBatch]

    def __len__(self) -> int:
        """Return the number of samples per domain."""
        return len(self.index)

    def first(self, count: int) -> StreamBatch:
        """Return the first ``count`` samples of each domain."""
        return StreamBatch(self.index[:count], {d: samples.first(count) for d, samples in self.domains.items()})


@dataclass
class LatentBatch:
    """What a worker hands out: positions, latents and random numbers; the images are made on the device.

    Attributes:
        index: (B,) int64 positions in the stream.
        z: per domain (B, z_dim).
        uniform: per domain (B, 9) numbers in [0, 1) for the augmentation.
    """

    index: Tensor
    z: dict[str, Tensor]
    uniform: dict[str, Tensor]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LatentBatch:
        """Move to ``device``."""
        return LatentBatch(
            self.index.to(device, non_blocking=non_blocking),
            {d: z.to(device, non_blocking=non_blocking) for d, z in self.z.items()},
            {d: u.to(device, non_blocking=non_blocking) for d, u in self.uniform.items()},
        )

    def pin_memory(self) -> LatentBatch:
        """Pin, for a faster copy to a GPU."""
        return LatentBatch(
            self.index.pin_memory(),
            {d: z.pin_memory() for d, z in self.z.items()},
            {d: u.pin_memory() for d, u in self.uniform.items()},
        )


@dataclass
class ClickBatch:
    """Images (B, 3, S, S) in [-1, 1], clicked ``points`` (B, K, 2) in pixels, ``uv`` (B, K, 2), ``inside`` (B, K)."""

    images: Tensor
    points: Tensor
    uv: Tensor
    inside: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ClickBatch:
        """Move to ``device``."""
        return ClickBatch(
            *(t.to(device, non_blocking=non_blocking) for t in (self.images, self.points, self.uv, self.inside))
        )


@dataclass
class RenderBatch:
    """B annotated faces of the embedded world with their dense truth, for methods that learn with labels.

    Attributes:
        images: (B, 3, S, S) in [-1, 1].
        uv: (B, S, S, 2) canonical surface coordinate that each pixel shows, common to all species; 0 where not
            ``inside``.
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

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RenderBatch:
        """Move to ``device``."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> RenderBatch:
        """Pin, for a faster copy to a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> RenderBatch:
        tensors = {f.name: function(getattr(self, f.name)) for f in fields(self) if f.name != "domains"}
        return RenderBatch(**tensors, domains=self.domains)


@dataclass
class PairBatch:
    """B pairs of one set.

    Points are (B, P, 2), x then y, pixels of the S x S images, in the layout of all protocols (9-point, then
    3-point: ``schemes.LAYOUT``). Images are (B, 3, S, S) float32 in [-1, 1]. ``target_crops[b].picture_points(points)``
    maps points of target image b to pixels of the original photo.
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

    def __len__(self) -> int:
        return len(self.pair_id)

    @property
    def species(self) -> tuple[str, str]:
        """Species of the source and of the target."""
        source, _, target = self.pair.partition("+")
        return source, target

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        """Return the batch with its tensors on ``device``; Lightning calls this."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PairBatch:
        """Return the batch in page-locked memory; the DataLoader calls this."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Any) -> PairBatch:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: function(v) for name, v in values.items() if isinstance(v, Tensor)})


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
class ImageBatch:
    """``images`` (B, 3, S, S): uint8 from the loader, float in [-1, 1] for the method; ``number`` of the batch."""

    images: Tensor
    number: int

    def __len__(self) -> int:
        """Return the number of images."""
        return self.images.shape[0]
