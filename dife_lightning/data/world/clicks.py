"""Sparse, noisy clicks on world renders, from which the surface teacher learns.

As with human annotators, each training image has a fixed handful of clicked points, and both a point and its canonical
surface coordinate are noisy. Batches warp images and clicks as the evaluation's framing does.
"""

from __future__ import annotations

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import ClickBatch, image_tensor
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, sampling_grid, warp
from dife_lightning.utils.randomness import torch_generator, uniform
from dife_lightning.world import render


class ClickStream(EndlessBatches[ClickBatch]):
    """Endless batches of clicked images, each a pure function of (seed, number, rank).

    ``clicked``: images (N, S, S, 3) uint8, points (N, K, 2) in pixels, and their surface coordinates (N, K, 2).
    """

    def __init__(
        self,
        clicked: tuple[Tensor, Tensor, Tensor],
        batch_size: int,
        augment: AugmentOptions,
        seed: int,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.images, self.points, self.uv = clicked
        self.batch_size, self.augment, self.seed = batch_size, augment, seed

    def batch(self, number: int) -> ClickBatch:
        """Return batch ``number`` of this rank."""
        number, count, size = number * self.world_size + self.rank, self.batch_size, self.images.shape[1]
        rows = torch.randint(len(self.images), (count,), generator=torch_generator(self.seed, "clicks", number))
        numbers = uniform((count, AFFINE_NUMBERS + COLOR_NUMBERS), self.seed, "click-warp", number)
        affine = draw_affine(numbers, self.augment, size, size)
        images = image_tensor(self.images[rows].numpy())
        warped = warp(images, sampling_grid(affine, size, size, size, size), self.augment.padding)
        points = apply_affine(affine, self.points[rows])
        inside = ((points > -0.5) & (points < size - 0.5)).all(-1)
        jittered = color_jitter(warped, numbers[:, AFFINE_NUMBERS:], self.augment)
        return ClickBatch(jittered, points, self.uv[rows], inside)


class WorldClicks(TrainingDataModule):
    """Clicked world renders for the surface teacher.

    Args:
        species: species -> number of clicked train images (CSE has far more human than animal clicks).
        size: side of the images.
        clicks: clicked points per image.
        pixel_noise: standard deviation of a click in pixels.
        uv_noise: standard deviation of its surface coordinate.
        batch_size: images per step.
        augment: framing and colour.
        seed: of clicks and batches.
        evaluation: data module of keypoint pairs for validation, test and predict; None for none.

    Raises:
        ConfigError: no species or a count below 1.
    """

    def __init__(
        self,
        species: dict[str, int],
        size: int = 64,
        clicks: int = 12,
        pixel_noise: float = 1.0,
        uv_noise: float = 0.05,
        batch_size: int = 64,
        augment: AugmentOptions = AugmentOptions(),  # noqa: B008 - frozen
        seed: int = 0,
        evaluation: LightningDataModule | None = None,
    ) -> None:
        super().__init__(evaluation)
        if not species or min(species.values()) < 1:
            raise ConfigError(f"clicks: species={species}; expected at least one species with at least one image")
        self.species, self.size, self.clicks, self.noise = dict(species), size, clicks, (pixel_noise, uv_noise)
        self.batch_size, self.augment, self.seed = batch_size, augment, seed
        self.clicked: tuple[Tensor, Tensor, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Render and click the train faces; set up the evaluation."""
        if stage == "fit" and self.clicked is None:
            faces = [self._click(name, i) for name, count in self.species.items() for i in range(count)]
            images, points, uv = (torch.from_numpy(np.stack(part)) for part in zip(*faces, strict=True))
            self.clicked = images, points, uv
        super().setup(stage)

    def _click(self, species: str, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Render one train face and click it; return image, points (K, 2) and uv (K, 2)."""
        sample = render(species, "train", index, size=self.size)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, sum(species.encode()), index]))
        rows, columns = np.nonzero(sample.mask & np.isfinite(sample.uv).all(-1))
        chosen = rng.integers(0, len(rows), self.clicks)
        pixel_noise, uv_noise = self.noise
        points = np.stack((columns[chosen], rows[chosen]), -1) + rng.normal(0, pixel_noise, (self.clicks, 2))
        uv = sample.uv[rows[chosen], columns[chosen]] + rng.normal(0, uv_noise, (self.clicks, 2))
        return sample.image, points.astype(np.float32), uv.astype(np.float32)

    def train_dataloader(self) -> DataLoader[ClickBatch]:
        """Return the stream from the trainer's current batch on."""
        assert self.clicked is not None
        stream = ClickStream(self.clicked, self.batch_size, self.augment, self.seed, self.stream_start())
        return DataLoader(stream, batch_size=None)
