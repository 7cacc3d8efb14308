"""Sparse noisy clicks on world renders: what the surface teacher learns from.

Each training image has a fixed handful of clicked points with their canonical surface coordinate, both noisy, as
annotators' clicks are. Batches warp image and clicks by the evaluation's framing.
"""

from __future__ import annotations

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from dife_lightning.data.training import EndlessBatches, TrainingDataModule
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import ClickBatch
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, sampling_grid, warp
from dife_lightning.utils.randomness import torch_generator, uniform
from dife_lightning.world import render


class Clicks(EndlessBatches[ClickBatch]):
    """Endless batches over a fixed set of clicked renders, each a pure function of (seed, number).

    Args:
        species: species -> number of clicked images.
        size: side of the images.
        clicks: clicked points per image.
        pixel_noise: deviation of a click from where it was meant, in pixels.
        uv_noise: deviation of the surface coordinate it is given.
        batch_size: images per batch.
        augment: framing and colour.
        seed: of clicks and batches.
    """

    def __init__(
        self,
        species: dict[str, int],
        size: int,
        clicks: int,
        pixel_noise: float,
        uv_noise: float,
        batch_size: int,
        augment: AugmentOptions,
        seed: int,
    ) -> None:
        super().__init__()
        self.size, self.batch_size, self.augment, self.seed = size, batch_size, augment, seed
        items = [
            _clicked(name, i, size, clicks, pixel_noise, uv_noise, seed)
            for name, count in species.items()
            for i in range(count)
        ]
        self.images = torch.from_numpy(np.stack([image for image, _, _ in items]))
        self.points = torch.from_numpy(np.stack([points for _, points, _ in items]))
        self.uv = torch.from_numpy(np.stack([uv for _, _, uv in items]))

    def batch(self, number: int) -> ClickBatch:
        """Return batch ``number``."""
        rows = torch.randint(
            len(self.images), (self.batch_size,), generator=torch_generator(self.seed, "clicks", number)
        )
        numbers = uniform((self.batch_size, AFFINE_NUMBERS + COLOR_NUMBERS), self.seed, "click-warp", number)
        affine = draw_affine(numbers, self.augment, self.size, self.size)
        images = self.images[rows].permute(0, 3, 1, 2).float() / 127.5 - 1
        warped = warp(images, sampling_grid(affine, self.size, self.size, self.size, self.size), self.augment.padding)
        points = apply_affine(affine, self.points[rows])
        inside = ((points > -0.5) & (points < self.size - 0.5)).all(-1)
        return ClickBatch(
            color_jitter(warped, numbers[:, AFFINE_NUMBERS:], self.augment), points, self.uv[rows], inside
        )


def _clicked(
    species: str, index: int, size: int, clicks: int, pixel_noise: float, uv_noise: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render one train face and click it; returns image, points (K, 2) and uv (K, 2)."""
    sample = render(species, "train", index, size=size)
    rng = np.random.default_rng(np.random.SeedSequence([seed, sum(species.encode()), index]))
    rows, columns = np.nonzero(sample.mask & np.isfinite(sample.uv).all(-1))
    chosen = rng.integers(0, len(rows), clicks)
    points = np.stack((columns[chosen], rows[chosen]), -1) + rng.normal(0, pixel_noise, (clicks, 2))
    uv = sample.uv[rows[chosen], columns[chosen]] + rng.normal(0, uv_noise, (clicks, 2))
    return sample.image, points.astype(np.float32), uv.astype(np.float32)


class WorldClicks(TrainingDataModule):
    """Clicked world renders for the surface teacher.

    Args:
        species: species -> number of clicked train images (CSE has far more human than animal clicks).
        size: side of the images.
        clicks: clicked points per image.
        pixel_noise: deviation of a click in pixels.
        uv_noise: deviation of its surface coordinate.
        batch_size: images per step.
        augment: framing and colour.
        seed: of clicks and batches.
        evaluation: data module of key-point pairs that validation, test and predict use; None trains without.

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
        self.options = (species, size, clicks, pixel_noise, uv_noise, batch_size, augment, seed)
        self.clicks: Clicks | None = None

    def setup(self, stage: str) -> None:
        """Render and click the train faces; set up the evaluation."""
        if stage == "fit" and self.clicks is None:
            self.clicks = Clicks(*self.options)
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[ClickBatch]:
        """Return the endless batches."""
        assert self.clicks is not None
        return DataLoader(self.clicks, batch_size=None)
