"""Distillation losses of the warm-up: equations 1 and 2 of the DIFE paper.

Both apply the same function to a student map and a frozen teacher's map: the L2 norm over channels at each pixel. The
paper sums over pixels and images and does not say how its code reduces. Here the reduction is an argument, because it
sets the ratio to the matching losses, which have another resolution.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, equations 1 and 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum"]


def reduce_pixels(errors: Tensor, valid: Tensor | None, reduction: Reduction) -> Tensor:
    """Reduce per-pixel ``errors`` (B, ...) over the pixels where ``valid`` (same shape, bool) is True.

    ``mean`` is the mean over all valid pixels of the batch (0 if there are none); ``sum`` adds the pixels of an image
    and averages over the batch, so that it does not depend on the batch size.
    """
    if valid is None:
        return errors.mean() if reduction == "mean" else errors.flatten(1).sum(1).mean()
    masked = torch.where(valid, errors, torch.zeros_like(errors))
    if reduction == "sum":
        return masked.flatten(1).sum(1).mean()
    return masked.sum() / valid.sum().clamp(min=1)


def distillation_loss(
    student: Tensor, teacher: Tensor, valid: Tensor | None = None, reduction: Reduction = "mean", eps: float = 1e-12
) -> Tensor:
    """Per-pixel distance ``|| teacher - student ||_2`` of one domain, reduced to a scalar in fp32.

    Args:
        student: (B, C, h, w); Φ(x) for equation 1, Ψ(Φ(x)) for equation 2.
        teacher: (B, C, h, w); C of CSE for equation 1, F of StyleGAN2 for equation 2. It receives no gradient.
        valid: (B, h, w) bool, False where a warp moved in pixels from outside the image.
        reduction: ``mean`` over valid pixels, or ``sum`` over an image's pixels (the equation as printed).
        eps: added under the root, so that the gradient at distance 0 is 0 and not NaN.

    Returns:
        Scalar, float32.
    """
    with torch.autocast(student.device.type, enabled=False):
        difference = teacher.detach().float() - student.float()
        distance = (difference.square().sum(dim=1) + eps).sqrt()
        return reduce_pixels(distance, valid, reduction)


def surface_distillation_loss(
    embedding: Tensor, surface: Tensor, valid: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """L_K1 of one domain (equation 1): the embedding Φ(x) against the surface teacher's C, (B, n, h, w) both."""
    return distillation_loss(embedding, surface, valid, reduction)


def feature_distillation_loss(
    converted: Tensor, features: Tensor, valid: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """L_K2 of one domain (equation 2): Ψ^d(Φ(x)) against the generator's features F^d, (B, n_d, h, w) both."""
    return distillation_loss(converted, features, valid, reduction)
