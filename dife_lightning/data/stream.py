"""The endless stream of StyleGAN2 samples that DIFE and other methods learn from.

Position i of the stream has the same latents and random numbers in any worker, on any rank and after any interruption.
Workers only draw latents. Images and features are synthesised and warped on the training device, and returned as a
:class:`~dife_lightning.faces.batches.StreamBatch`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import DomainBatch, LatentBatch, StreamBatch
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import inside_mask, sampling_grid, warp
from dife_lightning.pretrained.generators import Generator, load_generator
from dife_lightning.utils.randomness import normal, uniform


class LatentStream(EndlessBatches[LatentBatch]):
    """Endless batches of latents, each a pure function of (seed, position).

    ``z_dims``: latent size of each domain; the other arguments are those of :class:`StyleGAN2Stream`, ``batch_size``
    per domain.
    """

    def __init__(
        self,
        z_dims: dict[str, int],
        batch_size: int,
        seed: int = 0,
        same_z: bool = True,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.z_dims, self.batch_size, self.seed, self.same_z = z_dims, batch_size, seed, same_z

    def batch(self, number: int) -> LatentBatch:
        """Return batch ``number`` of this rank."""
        positions = self.positions(number, self.batch_size)
        z = {d: torch.stack([self._z(d, i) for i in positions]) for d in self.z_dims}
        count = AFFINE_NUMBERS + COLOR_NUMBERS
        numbers = {d: torch.stack([uniform((count,), self.seed, "augment", d, i) for i in positions]) for d in z}
        return LatentBatch(torch.tensor(list(positions)), z, numbers)

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
    """Synthesise images and features of all domains from a latent batch, without an autograd graph.

    The generators, one per domain, are on the device of the batch; for the other arguments see
    :class:`StyleGAN2Stream`.
    """
    domains = {}
    with torch.no_grad():
        for domain, generator in generators.items():
            w = generator.map(batch.z[domain], truncation=truncation)
            images, features = generator.synthesize(w, layer)
            domains[domain] = _augmented(images, features.float(), w, batch.uniform[domain], size, augment)
    return StreamBatch(batch.index, domains)


def to_encoder_size(images: Tensor, size: int) -> Tensor:
    """Resize generator images (B, 3, H, H) to (B, 3, size, size) and clamp them to [-1, 1], fp32."""
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

    Raises:
        ConfigError: no domain, a batch smaller than the number of domains, or truncation outside [0, 1].
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

    def setup(self, stage: str) -> None:
        """Load the generators through the cache (for fit) and the evaluation pairs."""
        if stage == "fit":
            self.generators = {domain: load_generator(name) for domain, name in self.names.items()}
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[LatentBatch]:
        """Return the stream from the trainer's current batch on."""
        z_dims = {domain: generator.z_dim for domain, generator in self.generators.items()}
        stream = LatentStream(z_dims, self.per_domain, self.seed, self.same_z, self.stream_start())
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Synthesise a latent batch on its device; return other batches unchanged."""
        if not isinstance(batch, LatentBatch):
            return batch
        generators = {d: g.to(batch.index.device) for d, g in self.generators.items()}
        return synthesize(batch, generators, self.layer, self.size, self.truncation, self.augment)
