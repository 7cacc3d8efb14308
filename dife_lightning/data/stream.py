"""The endless stream of StyleGAN2 samples that DIFE and its rivals learn from.

The dataset is a counter: stream position i gives the same latents and the same random numbers in any worker, on any
rank and after any interruption. Workers hand out latents only; images and features are synthesised on the training
device, warped there by one affine each, and emitted as a :class:`~dife_lightning.batches.StreamBatch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dife_lightning.augment import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.batches import DomainBatch, LatentBatch, StreamBatch
from dife_lightning.errors import ConfigError
from dife_lightning.generators import Generator, load_generator
from dife_lightning.geometry import inside_mask, sampling_grid, warp
from dife_lightning.randomness import normal, uniform


class LatentStream(IterableDataset[LatentBatch]):
    """Endless batches of latents, each a pure function of (seed, position).

    Batch k of rank r covers the positions ``(k * world_size + r) * batch_size ...``; worker j of J hands out the
    batches with ``k % J == j``, so that the DataLoader returns them in order whatever J is.

    Args:
        z_dims: latent size per domain.
        batch_size: latents per domain and step.
        seed: of everything drawn.
        same_z: one z for all domains of a position (as the official code does) instead of one each.
        first_batch: number of the first batch, to go on after an interruption.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        z_dims: dict[str, int],
        batch_size: int,
        seed: int = 0,
        same_z: bool = True,
        first_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.z_dims, self.batch_size, self.seed, self.same_z = z_dims, batch_size, seed, same_z
        self.first_batch, self.rank, self.world_size = first_batch, rank, world_size

    def batch(self, number: int) -> LatentBatch:
        """Return batch ``number`` of this rank."""
        first = (number * self.world_size + self.rank) * self.batch_size
        positions = range(first, first + self.batch_size)
        z = {d: torch.stack([self._z(d, i) for i in positions]) for d in self.z_dims}
        count = AFFINE_NUMBERS + COLOR_NUMBERS
        numbers = {d: torch.stack([uniform((count,), self.seed, "augment", d, i) for i in positions]) for d in z}
        return LatentBatch(torch.tensor(list(positions)), z, numbers)

    def _z(self, domain: str, position: int) -> Tensor:
        return normal((self.z_dims[domain],), self.seed, "z", "all" if self.same_z else domain, position)

    def __iter__(self) -> Iterator[LatentBatch]:
        """Yield this worker's batches, for ever."""
        worker = get_worker_info()
        step, offset = (1, 0) if worker is None else (worker.num_workers, worker.id)
        number = self.first_batch + offset
        while True:
            yield self.batch(number)
            number += step


def synthesize(
    batch: LatentBatch,
    generators: dict[str, Generator],
    layer: int,
    size: int,
    truncation: float,
    augment: AugmentOptions,
) -> StreamBatch:
    """Make images and features of all domains of a latent batch, without an autograd graph.

    Args:
        batch: latents, on the device of the generators.
        generators: one per domain.
        layer: tapped layer, in the paper's numbers.
        size: side of the images that the encoder sees.
        truncation: psi, towards the mean w.
        augment: ranges of the warp and of the colour jitter.
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


class StyleGAN2Stream(LightningDataModule):
    """Training batches from frozen generators; validation, test and predict pairs from another data module.

    Args:
        generators: domain -> generator, a shipped name such as ``world/human`` or a file.
        evaluation: data module of key-point pairs that validation, test and predict use; None trains without.
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

    def __init__(
        self,
        generators: dict[str, str],
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
        super().__init__()
        if not generators or batch_size < len(generators):
            raise ConfigError(f"stream: batch_size={batch_size} for {len(generators)} domains; each needs an image")
        if not 0 <= truncation <= 1:
            raise ConfigError(f"stream: truncation={truncation}; expected 0 (mean face) to 1 (no truncation)")
        self.names, self.evaluation, self.layer, self.size = dict(generators), evaluation, layer, size
        self.per_domain, self.truncation, self.same_z = batch_size // len(generators), truncation, same_z
        self.augment, self.seed, self.num_workers = augment, seed, num_workers
        self.generators: dict[str, Generator] = {}

    def prepare_data(self) -> None:
        """Let the evaluation prepare its files once per node."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.prepare_data()

    def setup(self, stage: str) -> None:
        """Load the generators through the cache (for fit) and the evaluation pairs."""
        if stage == "fit":
            self.generators = {domain: load_generator(name) for domain, name in self.names.items()}
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.setup(stage)

    def train_dataloader(self) -> DataLoader[LatentBatch]:
        """Return the stream from the step at which the trainer stands."""
        trainer = self.trainer
        stream = LatentStream(
            {domain: generator.z_dim for domain, generator in self.generators.items()},
            self.per_domain,
            self.seed,
            self.same_z,
            first_batch=0 if trainer is None else trainer.global_step * trainer.accumulate_grad_batches,
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
        )
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Synthesise a latent batch on the device it was moved to; other batches pass."""
        if not isinstance(batch, LatentBatch):
            return batch
        generators = {d: g.to(batch.index.device) for d, g in self.generators.items()}
        return synthesize(batch, generators, self.layer, self.size, self.truncation, self.augment)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's validation loaders."""
        return [] if self.evaluation is None else self.evaluation.val_dataloader()

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's test loaders."""
        return [] if self.evaluation is None else self.evaluation.test_dataloader()

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's predict loaders."""
        return [] if self.evaluation is None else self.evaluation.predict_dataloader()
