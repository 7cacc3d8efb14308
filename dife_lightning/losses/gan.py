"""Losses for training StyleGAN2: means over the batch in fp32."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator, ``-log sigmoid(D(G(z)))`` (Goodfellow et al., 2014)."""
    return F.softplus(-fake_logits.float()).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator, ``-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))``."""
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def r1_penalty(images: Tensor, real_logits: Tensor) -> Tensor:
    """R1 without its factor gamma: half the squared norm of the logit's gradient (Mescheder et al., 2018).

    Args:
        images: (B, 3, H, W), requiring grad.
        real_logits: (B, 1), computed from ``images``.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean() / 2


def path_lengths(images: Tensor, ws: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """Return ``sqrt(mean over layers of |J^T y|^2)`` per sample (B,), with random y (Karras et al., 2020, section 3.2).

    Args:
        images: (B, 3, H, W), synthesised from ``ws``.
        ws: (B, num_ws, w_dim), requiring grad.
        rng: source of y.
    """
    noise = torch.randn(images.shape, device=images.device, generator=rng) / math.sqrt(images[0, 0].numel())
    (gradient,) = torch.autograd.grad((images.float() * noise).sum(), ws, create_graph=True)
    return gradient.float().square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Return the squared distance of ``lengths`` (B,) from their running mean, and the updated mean (scalar)."""
    moved = mean.lerp(lengths.detach().mean(), decay)
    return (lengths - moved).square().mean(), moved
