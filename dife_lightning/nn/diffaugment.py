"""Differentiable augmentation of a discriminator's input, with a fixed or adaptive probability.

References:
    - [0]: Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020.
    - [1]: Training Generative Adversarial Networks with Limited Data, NeurIPS 2020 (ADA): the probability rises while
      the discriminator is more certain of real images than a target, and falls otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dife_lightning.errors import ConfigError, did_you_mean


def _uniform(images: Tensor, rng: torch.Generator | None) -> Tensor:
    """Return (B, 1, 1, 1) numbers in [0, 1)."""
    return torch.rand(images.shape[0], 1, 1, 1, device=images.device, generator=rng)


def color(images: Tensor, applied: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """Where ``applied`` (B, 1, 1, 1): brightness + [-0.5, 0.5), saturation x [0, 2), contrast x [0.5, 1.5)."""
    brightness = torch.where(applied, _uniform(images, rng) - 0.5, 0.0)
    saturation = torch.where(applied, _uniform(images, rng) * 2, 1.0)
    contrast = torch.where(applied, _uniform(images, rng) + 0.5, 1.0)
    images = images + brightness
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * saturation
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * contrast


def translation(images: Tensor, applied: Tensor, rng: torch.Generator | None = None, ratio: float = 0.125) -> Tensor:
    """Where ``applied`` (B, 1, 1, 1): shift by whole pixels, up to ``ratio`` of the side, and fill with zeros."""
    height, width = images.shape[2:]
    rows = _shifted(height, images, applied, rng, ratio)
    columns = _shifted(width, images, applied, rng, ratio)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    # Pixels from outside are read from the zero border, at index 0 and size + 1.
    rows, columns = (rows + 1).clamp(0, height + 1), (columns + 1).clamp(0, width + 1)
    batch = torch.arange(images.shape[0], device=images.device)[:, None, None]
    pixels = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def _shifted(size: int, images: Tensor, applied: Tensor, rng: torch.Generator | None, ratio: float) -> Tensor:
    """Return (B, size): the source index of each output row or column."""
    most = int(size * ratio + 0.5)
    shift = (_uniform(images, rng) * (2 * most + 1)).long() - most
    shift = torch.where(applied, shift, 0).flatten()
    return torch.arange(size, device=images.device)[None] + shift[:, None]


def cutout(images: Tensor, applied: Tensor, rng: torch.Generator | None = None, ratio: float = 0.5) -> Tensor:
    """Where ``applied``: set a square of ``ratio`` of the side to zero; it may reach over the border."""
    height, width = images.shape[2:]
    inside_rows = _cut(height, images, rng, ratio)
    inside_columns = _cut(width, images, rng, ratio)
    hole = inside_rows[:, None, :, None] & inside_columns[:, None, None, :] & applied
    return images.masked_fill(hole, 0.0)


def _cut(size: int, images: Tensor, rng: torch.Generator | None, ratio: float) -> Tensor:
    """Return (B, size) bool: the rows or columns that are cut out."""
    length = int(size * ratio + 0.5)
    center = (_uniform(images, rng).flatten() * (size + 1 - length % 2)).long()
    index = torch.arange(size, device=images.device)[None]
    start = center[:, None] - length // 2
    return (index >= start) & (index < start + length)


#: Name in a policy -> function.
AUGMENTATIONS: dict[str, Callable[..., Tensor]] = {"color": color, "translation": translation, "cutout": cutout}


class DiffAugment(nn.Module):
    """Augment images before the discriminator. Each kind is applied to a sample with the same probability.

    Args:
        policy: any of ``color``, ``translation``, ``cutout``, in the order of application; empty turns it off.
        probability: initial probability.
        target: wanted mean sign of the discriminator's logits of real images (ADA: 0.6); None keeps ``probability``.
        speed_images: number of images over which an adaptive probability can go from 0 to 1.
    """

    probability: Tensor

    def __init__(
        self,
        policy: Sequence[str] = ("color", "translation", "cutout"),
        probability: float = 1.0,
        target: float | None = None,
        speed_images: int = 200_000,
    ) -> None:
        super().__init__()
        for name in policy:
            if name not in AUGMENTATIONS:
                raise ConfigError(f"unknown augmentation '{name}'. {did_you_mean(name, AUGMENTATIONS)}")
        if not 0 <= probability <= 1:
            raise ConfigError(f"augmentation probability {probability}: expected 0 to 1")
        self.policy, self.target, self.speed_images = tuple(policy), target, speed_images
        self.register_buffer("probability", torch.tensor(float(probability)))

    def forward(self, images: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Augment ``images`` (B, 3, H, W) in [-1, 1]; twice differentiable."""
        if not self.policy or (self.target is None and float(self.probability) == 0):
            return images
        for name in self.policy:
            applied = _uniform(images, rng) < self.probability
            images = AUGMENTATIONS[name](images, applied, rng)
        return images

    @torch.no_grad()
    def adapt(self, real_logits: Tensor) -> None:
        """Move an adaptive probability towards the target, given the logits (B, 1) of real images."""
        if self.target is None:
            return
        step = real_logits.shape[0] / self.speed_images
        excess = real_logits.detach().float().sign().mean() - self.target
        self.probability.add_(excess.sign() * step).clamp_(0, 1)
