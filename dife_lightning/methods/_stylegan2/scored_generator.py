"""Base of generator trainings: samples from fixed latents, and a score from them."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.faces.batches import ImageBatch
from dife_lightning.method import Method
from dife_lightning.metrics.fid import FrechetDistance
from dife_lightning.nn.stylegan2 import StyleGAN2Generator
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.utils.randomness import normal


def network_distance(name: str) -> FrechetDistance:
    """Return a distance between the features of an embedder: their means in the cells of a 2 x 2 grid.

    Args:
        name: anything that ``load_embedder`` takes, for example ``backbone:imagenet/mobilenet_v2?layer=13``.
    """
    embedder = load_embedder(name)

    def features(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            embedding = embedder.to(images.device).embed(images.float().clamp(-1, 1))
        return F.adaptive_avg_pool2d(embedding.float(), 2).flatten(1)

    length = features(torch.zeros(1, 3, 64, 64, device=embedder.device)).shape[1]
    return FrechetDistance(features, length)


class ScoredGenerator(Method):
    """Scores ``generator_ema`` by its Fréchet distance to held-out images; subclasses set the attributes.

    Attributes:
        generator_ema: the averaged generator.
        distance: between real images and samples.
        fid_embedder: whose features ``distance`` compares; None for fixed filters. Loaded when a stage begins.
        seed: of the latents.
    """

    monitor: ClassVar[str] = "val/fid"
    generator_ema: StyleGAN2Generator
    distance: FrechetDistance
    fid_embedder: str | None
    seed: int

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that are made, and so of those to train on."""
        return self.generator_ema.architecture.resolutions[-1]

    @torch.no_grad()
    def sample(self, count: int, truncation: float = 1.0, first: int = 0) -> Tensor:
        """Return images (count, 3, R, R) of the averaged generator, of fixed latents counted from ``first``."""
        z_dim = self.generator_ema.architecture.z_dim
        z = torch.stack([normal((z_dim,), self.seed, "sample", first + i) for i in range(count)]).to(self.device)
        return torch.cat([self.generator_ema(part, truncation=truncation) for part in z.split(32)])

    def setup(self, stage: str) -> None:
        """Load the network of the distance, if it has one."""
        if self.fid_embedder is not None and self.distance.features is None:
            self.distance = network_distance(self.fid_embedder).to(self.device)

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Add a batch of real images and as many generated ones to the Fréchet distance."""
        first = (batch_idx * self.trainer.world_size + self.global_rank) * len(batch)
        self.distance.update(batch.images, real=True)
        self.distance.update(self.sample(len(batch), first=first), real=False)

    def on_validation_epoch_end(self) -> None:
        """Log the distance of the averaged generator."""
        self._log_distance("val/fid")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the distance of the averaged generator."""
        self._log_distance("test/fid")

    def _log_distance(self, name: str) -> None:
        if not self.trainer.sanity_checking:
            self.log(name, self.distance.compute().float(), prog_bar=True)
        self.distance.reset()
