"""The endless stream of StyleGAN2 samples that DIFE and other methods learn from.

Position i of the stream has the same latents and random numbers in any worker, on any rank and after any interruption.
Workers only draw latents. Images and features are synthesised and warped on the training device, and returned as a
:class:`~dife_lightning.faces.batches.StreamBatch`. The stream may carry unlabelled photos beside the samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.images import ImageStream, to_float
from dife_lightning.data.photos.stream_photos import StreamPhotos, check_use, read_photos
from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import DomainBatch, LatentBatch, PhotoBatch, StreamBatch
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import inside_mask, sampling_grid, warp
from dife_lightning.pretrained.generators import Generator, load_generator
from dife_lightning.utils.randomness import normal, seed_of, uniform


class LatentStream(EndlessBatches[LatentBatch]):
    """Endless batches of latents and of unlabelled photos, each a pure function of (seed, position).

    ``z_dims``: latent size of each domain; ``photos``: photos (N, M, M, 3) uint8 of domains, ``photo_count`` of each in
    a batch. The other arguments are those of :class:`StyleGAN2Stream`, ``batch_size`` per domain. Each pass over the
    photos has its own random order, and each photo is mirrored in half of them, as those that generators learn from.
    """

    def __init__(
        self,
        z_dims: dict[str, int],
        batch_size: int,
        seed: int = 0,
        same_z: bool = True,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
        photos: Mapping[str, NDArray[np.uint8]] = MappingProxyType({}),
        photo_count: int = 0,
    ) -> None:
        super().__init__(start)
        self.z_dims, self.batch_size, self.seed, self.same_z = z_dims, batch_size, seed, same_z
        self.photos = {
            domain: ImageStream(images, photo_count, seed_of(seed, "photos", domain), flip=True, start=start)
            for domain, images in photos.items()
        }

    def batch(self, number: int) -> LatentBatch:
        """Return batch ``number`` of this rank."""
        positions = self.positions(number, self.batch_size)
        z = {d: torch.stack([self._z(d, i) for i in positions]) for d in self.z_dims}
        numbers = {d: self._numbers("augment", d, positions) for d in z}
        photos = {d: stream.batch(number).images for d, stream in self.photos.items()}
        photo_numbers = {
            d: self._numbers("augment photo", d, stream.positions(number, stream.batch_size))
            for d, stream in self.photos.items()
        }
        return LatentBatch(torch.tensor(list(positions)), z, numbers, photos, photo_numbers)

    def _numbers(self, purpose: str, domain: str, positions: range) -> Tensor:
        count = AFFINE_NUMBERS + COLOR_NUMBERS
        return torch.stack([uniform((count,), self.seed, purpose, domain, i) for i in positions])

    def _z(self, domain: str, position: int) -> Tensor:
        return normal((self.z_dims[domain],), self.seed, "z", "all" if self.same_z else domain, position)


def synthesize(
    batch: LatentBatch,
    generators: dict[str, Generator],
    layer: int,
    size: int,
    truncation: float,
    augment: AugmentOptions,
) -> StreamBatch:
    """Synthesise images and features of all domains from a latent batch, without an autograd graph; warp its photos.

    The generators, one per domain, are on the device of the batch; for the other arguments see
    :class:`StyleGAN2Stream`.
    """
    domains = {}
    with torch.no_grad():
        for domain, generator in generators.items():
            w = generator.map(batch.z[domain], truncation=truncation)
            images, features = generator.synthesize(w, layer)
            domains[domain] = _augmented(images, features.float(), w, batch.uniform[domain], size, augment)
    photos = {d: _augmented_photos(rows, batch.photo_uniform[d], size, augment) for d, rows in batch.photos.items()}
    return StreamBatch(batch.index, domains, photos)


def to_encoder_size(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, H) to (B, 3, size, size) and clamp them to [-1, 1], fp32."""
    images = images.float()
    if images.shape[-1] != size:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=images.shape[-1] > size)
    return images.clamp(-1, 1)


def _augmented(
    images: Tensor, features: Tensor, w: Tensor, numbers: Tensor, size: int, options: AugmentOptions
) -> DomainBatch:
    originals = to_encoder_size(images, size)
    affine = draw_affine(numbers, options, size, size)
    grid = sampling_grid(affine, size, size, size, size)
    side = features.shape[-1]
    warped = warp(originals, grid, options.padding)
    warped_features = warp(features, sampling_grid(affine, side, side, size, size), options.padding)
    jittered = color_jitter(warped, numbers[:, AFFINE_NUMBERS:], options)
    return DomainBatch(jittered, originals, warped_features, affine, inside_mask(grid), w)


def _augmented_photos(photos: Tensor, numbers: Tensor, size: int, options: AugmentOptions) -> PhotoBatch:
    images = to_float(photos)
    affine = draw_affine(numbers, options, size, size)
    grid = sampling_grid(affine, size, size, size, size)
    warped = warp(images, grid, options.padding)  # from the larger photo, in one resampling
    jittered = color_jitter(warped, numbers[:, AFFINE_NUMBERS:], options)
    return PhotoBatch(jittered, to_encoder_size(images, size), affine, inside_mask(grid))


class StyleGAN2Stream(TrainingDataModule):
    """Training batches from frozen generators; validation, test and predict pairs from another data module.

    Args:
        generators: domain -> generator, a shipped name such as ``world/human`` or a file. A configuration that states
            ``generators``, ``layer`` or ``size`` for the model need not repeat it here.
        evaluation: data module of landmark pairs that validation, test and predict use; None trains without.
        layer: tapped layer in the paper's numbers (5: 32 px, 7: 64 px, 9: 128 px).
        size: side of the encoder's images (paper: 96).
        batch_size: images per step over all domains; each domain gets ``batch_size // domains`` (paper: 12).
        truncation: psi towards the mean w (official code: 0.7).
        same_z: one z for all domains of a stream position (official code) instead of one each.
        augment: ranges of the warp and the colour jitter.
        seed: of the whole stream.
        num_workers: processes that draw latents; any number gives the same batches.
        photos: unlabelled photos that each batch has beside the samples; None for none, as in the paper.

    Raises:
        ConfigError: no domain, a batch smaller than the number of domains, truncation outside [0, 1], or photos of a
            domain that has no generator.
    """

    #: What a configuration gives the model and means for the stream, too.
    FROM_MODEL: ClassVar = ("generators", "layer", "size")

    def __init__(
        self,
        generators: dict[str, str] | None = None,
        evaluation: LightningDataModule | None = None,
        layer: int = 7,
        size: int = 96,
        batch_size: int = 12,
        truncation: float = 0.7,
        same_z: bool = True,
        augment: AugmentOptions = AugmentOptions(),  # noqa: B008 - frozen
        seed: int = 0,
        num_workers: int = 0,
        photos: StreamPhotos | None = None,
    ) -> None:
        super().__init__(evaluation)
        generators = generators or {}
        if not generators or batch_size < len(generators):
            raise ConfigError(f"stream: batch_size={batch_size} for {len(generators)} domains; each needs an image")
        if not 0 <= truncation <= 1:
            raise ConfigError(f"stream: truncation={truncation}; expected 0 (mean face) to 1 (no truncation)")
        self.names, self.layer, self.size = dict(generators), layer, size
        self.per_domain, self.truncation, self.same_z = batch_size // len(generators), truncation, same_z
        self.augment, self.seed, self.num_workers = augment, seed, num_workers
        self.generators: dict[str, Generator] = {}
        self.photos, self.photo_count = photos, self.per_domain
        if photos is not None:
            photos.folders(self.names)
            self.photo_count = photos.per_domain(batch_size, len(generators))
        self._photos: dict[str, NDArray[np.uint8]] = {}

    def setup(self, stage: str) -> None:
        """For fit, load the generators through the cache and read the photos; set up the evaluation pairs.

        Raises:
            ConfigError: there are photos, and the method does not learn from any.
        """
        if stage == "fit":
            self.generators = {domain: load_generator(name) for domain, name in self.names.items()}
            if self.photos is not None and not self._photos:
                check_use(None if self.trainer is None else self.trainer.lightning_module)
                self._photos = read_photos(self.photos, self.names, math.ceil(self.size * self.augment.scale_max))
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[LatentBatch]:
        """Return the stream from the trainer's current batch on."""
        z_dims = {domain: generator.z_dim for domain, generator in self.generators.items()}
        shape = (self.per_domain, self.seed, self.same_z, self.stream_start())
        stream = LatentStream(z_dims, *shape, self._photos, self.photo_count)
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Synthesise a latent batch on its device; return other batches unchanged."""
        if not isinstance(batch, LatentBatch):
            return batch
        generators = {d: g.to(batch.index.device) for d, g in self.generators.items()}
        return synthesize(batch, generators, self.layer, self.size, self.truncation, self.augment)
