"""Unlabelled, aligned photographs of several species, warped by known amounts.

In a folder of aligned faces, a place of the picture is roughly a place of the face. That is all that a label-free
teacher learns from, so folders of faces that are not aligned teach it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dife_lightning.data.images import ImageStream, read_folder, split_held_out, to_float
from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import ConfigError, printable
from dife_lightning.faces.batches import AlignedBatch
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import sampling_grid, warp
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many
from dife_lightning.utils.randomness import seed_of, uniform


class AlignedStream(EndlessBatches[AlignedBatch]):
    """Endless batches with equally many photos of each domain; photo i of a domain is a function of (seed, domain, i).

    Args:
        photos: domain -> (N, S, S, 3) uint8.
        per_domain: photos of each domain in a batch.
        augment: framing and colour.
        seed: of the order and the augmentation.
        flip: mirror each photo with probability 1/2.
        start: first batch, rank and number of processes.
    """

    def __init__(
        self,
        photos: Mapping[str, NDArray[np.uint8]],
        per_domain: int,
        augment: AugmentOptions,
        seed: int,
        flip: bool,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.per_domain, self.augment, self.seed = per_domain, augment, seed
        self.streams = {
            domain: ImageStream(images, per_domain, seed_of(seed, "aligned", domain), flip, start)
            for domain, images in photos.items()
        }

    def batch(self, number: int) -> AlignedBatch:
        """Return batch ``number`` of this rank."""
        images = to_float(torch.cat([stream.batch(number).images for stream in self.streams.values()]))
        numbers = torch.stack([
            uniform((AFFINE_NUMBERS + COLOR_NUMBERS,), self.seed, "aligned-warp", domain, position)
            for domain in self.streams for position in self.positions(number, self.per_domain)
        ])  # fmt: skip
        size = images.shape[-1]
        affine = draw_affine(numbers, self.augment, size, size)
        warped = warp(images, sampling_grid(affine, size, size, size, size), self.augment.padding)
        domain = torch.arange(len(self.streams)).repeat_interleave(self.per_domain)
        return AlignedBatch(
            color_jitter(warped, numbers[:, AFFINE_NUMBERS:], self.augment), affine, domain, tuple(self.streams)
        )


class AlignedPhotos(TrainingDataModule):
    """Unlabelled, aligned photos of several domains, framed as the evaluation frames faces.

    Args:
        folders: domain -> folder of photos, or ``own/...`` of ``paths.yaml``; their central squares are used. All must
            be aligned in a similar way: upright, of similar size.
        count: most photos of each domain, chosen by ``seed``.
        held_out: photos that generators hold back (``GeneratorImages``), at most a tenth of a folder; they are not
            used.
        held_out_seed: ``seed`` of the generators' images, by which they were chosen.
        size: side of the images.
        batch_size: images per step over all domains; each domain gets ``batch_size // domains``.
        augment: framing and colour.
        flip: mirror each photo with probability 1/2. Do not use it if left and right differ.
        seed: of the choice, the order and the augmentation.
        skip_broken: skip damaged files and report them. ``--skip-broken`` sets it.
        evaluation: data module of keypoint pairs for validation, test and predict; None for none.

    Raises:
        ConfigError: no folder, a batch smaller than the number of domains, or a number out of its range.
    """

    def __init__(
        self,
        folders: dict[str, str],
        count: int = 2000,
        held_out: int = 1000,
        held_out_seed: int = 0,
        size: int = 64,
        batch_size: int = 48,
        augment: AugmentOptions = AugmentOptions(),  # noqa: B008 - frozen
        flip: bool = True,
        seed: int = 0,
        skip_broken: bool = False,
        evaluation: LightningDataModule | None = None,
    ) -> None:
        super().__init__(evaluation)
        if not folders or batch_size < len(folders):
            raise ConfigError(f"photos: batch_size={batch_size} for {len(folders)} folders; each domain needs a photo")
        require(at_least=1, count=count, size=size)
        require(at_least=0, held_out=held_out, held_out_seed=held_out_seed, seed=seed)
        self.folders, self.count, self.size, self.augment = dict(sorted(folders.items())), count, size, augment
        self.held_out, self.held_out_seed = held_out, held_out_seed
        self.per_domain, self.flip, self.seed, self.skip_broken = batch_size // len(folders), flip, seed, skip_broken
        self.photos: dict[str, NDArray[np.uint8]] = {}

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains, in the order of their numbers in a batch: that of their names."""
        return tuple(self.folders)

    def setup(self, stage: str) -> None:
        """Read the photos (for fit), and set up the evaluation.

        Raises:
            DataError: a folder is missing or empty, or a photo is damaged and not skipped.
        """
        if stage == "fit" and not self.photos:
            self.photos = {domain: self._read(domain) for domain in self.folders}
        super().setup(stage)

    def _read(self, domain: str) -> NDArray[np.uint8]:
        images, report = read_folder(self.folders[domain], self.size, self.skip_broken)
        if report.damaged:
            files, first = many(len(report.damaged), "file"), next(iter(report.damaged.values()))
            rank_zero_warn(printable(f"photos of {domain}: {files} skipped, the first: {first}"))
        kept, _ = split_held_out(images, self.held_out, self.held_out_seed)
        order = np.random.default_rng(seed_of(self.seed, "aligned photos", domain)).permutation(len(kept))
        chosen = kept[np.sort(order[: self.count])]
        out = len(images) - len(kept)
        rank_zero_info(printable(f"photos of {domain}: {len(chosen)} of {len(images)}; {out} held out"))
        return chosen

    def train_dataloader(self) -> DataLoader[AlignedBatch]:
        """Return the stream from the trainer's current batch on."""
        stream = AlignedStream(self.photos, self.per_domain, self.augment, self.seed, self.flip, self.stream_start())
        return DataLoader(stream, batch_size=None)
