"""Distillation loss of the warm-up, equations 1 and 2 of the DIFE paper.

Both equations are the L2 norm over channels at each pixel of the difference between a student's and a frozen teacher's
map. The paper sums over pixels and images, and does not say what its code does. The reduction is an argument here,
because it sets the ratio to the matching losses, which have another resolution.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, equations 1 and 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum"]


def reduce_pixels(errors: Tensor, valid: Tensor | None, reduction: Reduction) -> Tensor:
    """Reduce ``errors`` (B, ...) over the pixels where ``valid`` (same shape, bool) is True.

    ``mean`` averages over all valid pixels of the batch (0 if there are none). ``sum`` adds the pixels of each image
    and averages over the images.
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
    """Distance ``|| teacher - student ||_2`` per pixel for one domain: L_K1 (equation 1) or L_K2 (equation 2).

    Args:
        student: (B, C, h, w): the embedding Φ(x) for L_K1, the converted embedding Ψ^d(Φ(x)) for L_K2.
        teacher: (B, C, h, w): the surface teacher's map for L_K1, the generator's features F^d for L_K2; no gradient.
        valid: (B, h, w) bool, False for pixels that a warp moved in from outside the image.
        reduction: ``mean`` over valid pixels, or ``sum`` over the pixels of an image (the equation as printed).
        eps: added under the square root, so that the gradient at distance 0 is 0 and not NaN.

    Returns:
        Scalar, float32.
    """
    with torch.autocast(student.device.type, enabled=False):
        difference = teacher.detach().float() - student.float()
        distance = (difference.square().sum(dim=1) + eps).sqrt()
        return reduce_pixels(distance, valid, reduction)
