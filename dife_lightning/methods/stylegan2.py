"""Training of StyleGAN2 (Karras et al., 2020), also for small data and small machines.

One step trains the generator on a batch of latents, then the discriminator on a batch of images. Both optimisers step
once, so Lightning's ``global_step`` grows by two per batch: set the budget by ``max_images``, not ``max_steps``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from dife_lightning.faces.batches import ImageBatch
from dife_lightning.losses.gan import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from dife_lightning.methods._stylegan2.parts import average_into, latents, load_networks, mixed_styles
from dife_lightning.methods._stylegan2.scored_generator import ScoredGenerator
from dife_lightning.metrics.fid import FrechetDistance
from dife_lightning.nn.diffaugment import DiffAugment
from dife_lightning.nn.discriminator import Discriminator
from dife_lightning.nn.stylegan2 import Architecture, NoiseMode, StyleGAN2Generator
from dife_lightning.pretrained.generators import save_generator
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.distributed import check_strategy
from dife_lightning.utils.randomness import seed_of

METHOD = "StyleGAN2"


class StyleGAN2(ScoredGenerator):
    """StyleGAN2: generator, discriminator and the running average of the generator's weights.

    Args:
        channels: feature channels at 4, 8, 16, ... px; five entries make a 64-px generator.
        z_dim: length of z.
        w_dim: length of w.
        mapping_layers: fully connected layers from z to w.
        discriminator_channels: like ``channels``; None uses the same.
        stem: ``space-to-depth`` omits the discriminator's block of full resolution, which is about twice as fast.
        lr: Adam's learning rate for the generator (paper 0.002-0.0025).
        discriminator_lr: the same for the discriminator; None uses ``lr``.
        r1_gamma: weight of R1; 0 omits it.
        r1_interval: R1 is computed once in this many steps and multiplied by it (lazy regularisation).
        path_length_weight: weight of the path-length regularisation (paper 2); 0 omits it.
        path_length_interval: as ``r1_interval`` (paper 8; 4 in NVlabs' code).
        noise: add fresh noise in every layer (paper). Without it all detail must come from w; with small data and short
            runs, noise otherwise replaces detail, also in the features.
        style_mixing: probability that an image mixes two latents (paper 0.9).
        reuse_fakes: the discriminator uses the images of the generator's step instead of new ones, which saves a
            synthesis; both come from the generator before its update.
        ema_half_life: half-life of the generator's running average, in images.
        ema_rampup: the half-life is at most this fraction of the images seen; 0 does not limit it.
        augment: DiffAugment's policy, any of ``color``, ``translation``, ``cutout``; empty for none.
        augment_probability: of each augmentation, at the start.
        augment_target: adapt the probability so that the mean sign of the real logits stays at this value (ADA: 0.6).
        max_images: stop after this many training images; None leaves it to the trainer.
        fid_embedder: network whose features ``val/fid`` compares, for example
            ``backbone:imagenet/mobilenet_v2?layer=13&side=128``; None for fixed filters, which see no semantics.
        init_from: weights to start from: a shipped name such as ``world/dog``, a generator file, a checkpoint of this
            method, or its run's folder.
        seed: of all latents, noise and augmentations.

    Raises:
        ConfigError: a number out of its range, or an unknown name.
    """

    images_seen: Tensor
    steps_done: Tensor
    path_length_mean: Tensor

    def __init__(
        self,
        channels: list[int],
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        discriminator_channels: list[int] | None = None,
        stem: Literal["rgb", "space-to-depth"] = "rgb",
        lr: float = 0.0025,
        discriminator_lr: float | None = None,
        r1_gamma: float = 1.0,
        r1_interval: int = 16,
        path_length_weight: float = 0.0,
        path_length_interval: int = 4,
        noise: bool = True,
        style_mixing: float = 0.9,
        reuse_fakes: bool = False,
        ema_half_life: float = 10_000,
        ema_rampup: float = 0.05,
        augment: Sequence[str] = (),
        augment_probability: float = 1.0,
        augment_target: float | None = None,
        max_images: int | None = None,
        fid_embedder: str | None = None,
        init_from: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["init_from"])
        self.hparams["augment"] = list(augment)
        self.automatic_optimization = False
        require(above=0, lr=lr, discriminator_lr=discriminator_lr, ema_half_life=ema_half_life)
        require(at_least=0, r1_gamma=r1_gamma, path_length_weight=path_length_weight, ema_rampup=ema_rampup, seed=seed)
        require(at_least=1, r1_interval=r1_interval, path_length_interval=path_length_interval, max_images=max_images)
        require(at_least=1, discriminator_channels=discriminator_channels)
        require(at_least=0, at_most=1, style_mixing=style_mixing, augment_probability=augment_probability)
        require(at_least=-1, at_most=1, augment_target=augment_target)
        require_choice("stem", stem, ("rgb", "space-to-depth"))
        self.lr, self.discriminator_lr = lr, lr if discriminator_lr is None else discriminator_lr
        self.r1_gamma, self.r1_interval = r1_gamma, r1_interval
        self.path_length_weight, self.path_length_interval = path_length_weight, path_length_interval
        self.style_mixing, self.reuse_fakes, self.max_images = style_mixing, reuse_fakes, max_images
        self.ema_half_life, self.ema_rampup = ema_half_life, ema_rampup
        self.noise: NoiseMode = "random" if noise else "none"
        self.init_from, self.seed = init_from, seed
        architecture = Architecture(tuple(channels), z_dim, w_dim, 0, mapping_layers)
        self.generator = StyleGAN2Generator(architecture)
        self.discriminator = Discriminator(discriminator_channels or channels, stem=stem)
        self.generator_ema = StyleGAN2Generator(architecture).requires_grad_(False)
        self.generator_ema.load_state_dict(self.generator.state_dict())
        self.augment = DiffAugment(augment, augment_probability, augment_target)
        self.distance, self.fid_embedder = FrechetDistance(), fid_embedder
        self.register_buffer("images_seen", torch.zeros([], dtype=torch.long))
        self.register_buffer("steps_done", torch.zeros([], dtype=torch.long))
        self.register_buffer("path_length_mean", torch.zeros([]))
        # Half-precision convolutions are several times faster with channels last, on CPUs as on GPUs.
        self.to(memory_format=torch.channels_last)

    # --- training

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Step the generator, then the discriminator, then the running average."""
        generator_optimizer, discriminator_optimizer = self._both_optimizers()
        rng = self._rng("step")
        step, reals = int(self.steps_done), batch.images
        fakes, loss = self._train_generator(generator_optimizer, len(reals), step, rng)
        if not self.reuse_fakes:
            with torch.no_grad():
                fakes, _ = self._synthesize(len(reals), rng)
        loss = loss + self._train_discriminator(discriminator_optimizer, reals, fakes, step, rng)
        self._count(len(reals))
        return loss

    def _train_generator(
        self, optimizer: LightningOptimizer, count: int, step: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        self.toggle_optimizer(optimizer)
        images, w = self._synthesize(count, rng)
        self.generator.mapping.update_average(w)
        loss = generator_loss(self.discriminator(self.augment(images, rng)))
        total = loss
        if self.path_length_weight and step % self.path_length_interval == 0:
            penalty = self._path_length(max(1, count // 2), rng)
            total = loss + penalty * (self.path_length_weight * self.path_length_interval)
        self._step(optimizer, total)
        self.untoggle_optimizer(optimizer)
        self.log("train/generator_loss", loss, prog_bar=True)
        return images.detach(), loss.detach()

    def _path_length(self, count: int, rng: torch.Generator) -> Tensor:
        ws = self.generator.map(latents(self.generator, count, rng))
        images, _ = self.generator.synthesis(ws, noise=self.noise, rng=rng)
        assert images is not None
        penalty, mean = path_length_penalty(path_lengths(images, ws, rng), self.path_length_mean)
        self.path_length_mean.copy_(mean)
        self.log("train/path_length", mean)
        return penalty

    def _train_discriminator(
        self, optimizer: LightningOptimizer, reals: Tensor, fakes: Tensor, step: int, rng: torch.Generator
    ) -> Tensor:
        self.toggle_optimizer(optimizer)
        regularize = self.r1_gamma > 0 and step % self.r1_interval == 0
        reals = reals.detach().requires_grad_(regularize)
        real_logits = self.discriminator(self.augment(reals, rng))
        fake_logits = self.discriminator(self.augment(fakes, rng))
        loss = discriminator_loss(real_logits, fake_logits)
        total = loss
        if regularize:
            penalty = r1_penalty(reals, real_logits)
            total = loss + penalty * (self.r1_gamma * self.r1_interval)
            self.log("train/r1", penalty)
        self._step(optimizer, total)
        self.untoggle_optimizer(optimizer)
        self.augment.adapt(real_logits)
        self.log("train/discriminator_loss", loss, prog_bar=True)
        self.log("train/real_sign", real_logits.detach().sign().mean())
        self.log("train/fake_sign", fake_logits.detach().sign().mean())
        self.log("train/augment_probability", self.augment.probability)
        return loss.detach()

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def _synthesize(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return images with fresh noise and mixed styles, and w (count, w_dim) before mixing."""
        w, ws = mixed_styles(self.generator, count, self.style_mixing, rng)
        images, _ = self.generator.synthesis(ws, noise=self.noise, rng=rng)
        assert images is not None
        return images, w

    def _rng(self, purpose: str) -> torch.Generator:
        """Return this step's random generator, which depends on seed, step and rank only."""
        seed = seed_of(self.seed, purpose, int(self.steps_done), self.global_rank)
        return torch.Generator(self.device).manual_seed(seed)

    @torch.no_grad()
    def _count(self, batch_size: int) -> None:
        """Count images, update the running average, and stop at the budget."""
        count = batch_size * self.trainer.world_size
        self.images_seen += count
        self.steps_done += 1
        self._average(count)
        self.log("train/images", self.images_seen.float(), prog_bar=True)
        if self.max_images is not None and int(self.images_seen) >= self.max_images:
            self.trainer.should_stop = True

    def _average(self, count: int) -> None:
        seen = int(self.images_seen)
        half_life = min(self.ema_half_life, seen * self.ema_rampup) if self.ema_rampup else self.ema_half_life
        weight = 1 - 0.5 ** (count / max(half_life, 1e-8))
        average_into(self.generator_ema, self.generator, weight)

    def _both_optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        first, second = optimizers
        assert isinstance(first, LightningOptimizer)
        assert isinstance(second, LightningOptimizer)
        return first, second

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam without momentum for both networks."""
        return [
            torch.optim.Adam(self.generator.parameters(), self.lr, betas=(0.0, 0.99), eps=1e-8),
            torch.optim.Adam(self.discriminator.parameters(), self.discriminator_lr, betas=(0.0, 0.99), eps=1e-8),
        ]

    # --- files

    def export(self, path: str) -> None:
        """Write the averaged generator to a file that ``load_generator`` reads."""
        save_generator(self.generator_ema, path)

    def setup(self, stage: str) -> None:
        """Load the weights of ``init_from``, unless the run is resumed."""
        super().setup(stage)
        if stage == "fit":
            check_strategy(self.trainer, type(self).__name__)
        if stage == "fit" and self.init_from and self.trainer.ckpt_path is None and not int(self.steps_done):
            self.load_weights(self.init_from)

    def load_weights(self, path: str) -> None:
        """Load the networks' weights, and nothing else, from anything that ``init_from`` can name.

        A shipped name or generator file sets both generators; the discriminator then starts from scratch.
        """
        load_networks(self, path)
