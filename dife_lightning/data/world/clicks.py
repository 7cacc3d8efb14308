"""Sparse, noisy clicks on world renders, from which the surface teacher learns.

As with human annotators, each training image has a fixed handful of clicked points, and both a point and its canonical
surface coordinate are noisy. Batches warp images and clicks as the evaluation's framing does.
"""

from __future__ import annotations

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray

from dife_lightning.data.click_stream import ClickedImages, Clicks
from dife_lightning.errors import ConfigError
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.world import render


class WorldClicks(ClickedImages):
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
        super().__init__(batch_size, augment, seed, evaluation)
        if not species or min(species.values()) < 1:
            raise ConfigError(f"clicks: species={species}; expected at least one species with at least one image")
        self.species, self.size, self.per_image = dict(species), size, clicks
        self.noise = (pixel_noise, uv_noise)

    def make_clicks(self) -> Clicks:
        """Render and click the train faces."""
        faces = [self._click(name, i) for name, count in self.species.items() for i in range(count)]
        images, points, uv = (torch.from_numpy(np.stack(part)) for part in zip(*faces, strict=True))
        return Clicks(images, points, uv, torch.ones(points.shape[:2], dtype=torch.bool))

    def _click(self, species: str, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Render one train face and click it; return image, points (K, 2) and uv (K, 2)."""
        sample = render(species, "train", index, size=self.size)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, sum(species.encode()), index]))
        rows, columns = np.nonzero(sample.mask & np.isfinite(sample.uv).all(-1))
        chosen = rng.integers(0, len(rows), self.per_image)
        pixel_noise, uv_noise = self.noise
        points = np.stack((columns[chosen], rows[chosen]), -1) + rng.normal(0, pixel_noise, (self.per_image, 2))
        uv = sample.uv[rows[chosen], columns[chosen]] + rng.normal(0, uv_noise, (self.per_image, 2))
        return sample.image, points.astype(np.float32), uv.astype(np.float32)
