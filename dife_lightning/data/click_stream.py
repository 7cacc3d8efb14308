"""Clicked images, from which the surface teacher learns: shared by renders and photographs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.faces.batches import ClickBatch, image_tensor
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, mirror_points, sampling_grid, warp
from dife_lightning.utils.checks import require
from dife_lightning.utils.randomness import torch_generator, uniform


class Clicks(NamedTuple):
    """Images (N, S, S, 3) uint8 and K clicks in each: points in pixels, surface coordinates, and which are clicked."""

    images: Tensor
    points: Tensor
    uv: Tensor
    clicked: Tensor


class ClickStream(EndlessBatches[ClickBatch]):
    """Endless batches of clicked images, each a pure function of (seed, number, rank).

    Args:
        clicks: images, and their clicks (N, K, 2), (N, K, 2) and (N, K).
        batch_size: images per batch.
        augment: framing and colour.
        seed: of the order and the augmentation.
        flip: mirror each image with probability 1/2, and ``u`` with it.
        start: first batch, rank and number of processes.
    """

    def __init__(
        self,
        clicks: Clicks,
        batch_size: int,
        augment: AugmentOptions,
        seed: int,
        flip: bool = False,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.clicks, self.batch_size, self.augment, self.seed = clicks, batch_size, augment, seed
        self.flip = flip

    def batch(self, number: int) -> ClickBatch:
        """Return batch ``number`` of this rank."""
        number, count, size = number * self.world_size + self.rank, self.batch_size, self.clicks.images.shape[1]
        rows = torch.randint(len(self.clicks.images), (count,), generator=torch_generator(self.seed, "clicks", number))
        numbers = uniform((count, AFFINE_NUMBERS + COLOR_NUMBERS), self.seed, "click-warp", number)
        affine = draw_affine(numbers, self.augment, size, size)
        images, points, uv = (
            image_tensor(self.clicks.images[rows].numpy()),
            self.clicks.points[rows],
            self.clicks.uv[rows],
        )
        if self.flip:
            images, points, uv = _mirrored(images, points, uv, uniform((count,), self.seed, "click-flip", number) < 0.5)
        warped = warp(images, sampling_grid(affine, size, size, size, size), self.augment.padding)
        points = apply_affine(affine, points)
        inside = ((points > -0.5) & (points < size - 0.5)).all(-1) & self.clicks.clicked[rows]
        jittered = color_jitter(warped, numbers[:, AFFINE_NUMBERS:], self.augment)
        return ClickBatch(jittered, points, uv, inside)


def _mirrored(images: Tensor, points: Tensor, uv: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror the ``chosen`` (B,) of images (B, 3, S, S), points (B, K, 2) and surface coordinates (B, K, 2)."""
    mirrored = mirror_points(points, images.shape[-1])
    there, here = chosen[:, None, None], chosen[:, None, None, None]
    return (
        torch.where(here, images.flip(-1), images),
        torch.where(there, mirrored, points),
        torch.where(there, uv * uv.new_tensor([-1.0, 1.0]), uv),
    )


class ClickedImages(TrainingDataModule):
    """Base of data modules of clicked images; subclasses make the clicks.

    Args:
        batch_size: images per step.
        augment: framing and colour.
        seed: of clicks and batches.
        evaluation: data module of keypoint pairs for validation, test and predict; None for none.
        flip: mirror each image with probability 1/2, and ``u`` with it.
    """

    def __init__(
        self,
        batch_size: int,
        augment: AugmentOptions,
        seed: int,
        evaluation: LightningDataModule | None,
        flip: bool = False,
    ) -> None:
        super().__init__(evaluation)
        require(at_least=1, batch_size=batch_size)
        self.batch_size, self.augment, self.seed, self.flip = batch_size, augment, seed, flip
        self.clicks: Clicks | None = None

    def make_clicks(self) -> Clicks:
        """Return all clicked images."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Make the clicks; set up the evaluation."""
        if stage == "fit" and self.clicks is None:
            self.clicks = self.make_clicks()
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[ClickBatch]:
        """Return the stream from the trainer's current batch on."""
        assert self.clicks is not None
        stream = ClickStream(self.clicks, self.batch_size, self.augment, self.seed, self.flip, self.stream_start())
        return DataLoader(stream, batch_size=None)
