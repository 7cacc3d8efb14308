"""What the distillation losses of one step compare the embedding with.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.faces.batches import DomainBatch, PhotoBatch
from dife_lightning.geometry.coordinates import resize_maps, sampling_grid, warp
from dife_lightning.losses.distillation import distillation_loss
from dife_lightning.methods._dife.options import DistillationOptions
from dife_lightning.pretrained.embedders import Embedder


def surface_loss(
    teacher: Embedder, seen: Sequence[tuple[DomainBatch | PhotoBatch, Tensor]], options: DistillationOptions
) -> Tensor:
    """Equation 1 for one domain: the mean over its samples and photos alike.

    ``seen``: samples or photos, and the encoder's embedding (B, dim, S, S) of their images.
    """
    surface = torch.cat([surface_target(teacher, images, options) for images, _ in seen])
    embedding = torch.cat([embedding for _, embedding in seen])
    return distillation_loss(embedding, surface, torch.cat([images.valid for images, _ in seen]), options.reduction)


def surface_target(teacher: Embedder, samples: DomainBatch | PhotoBatch, options: DistillationOptions) -> Tensor:
    """Return the surface teacher's embedding (B, dim, S, S) of the warped images of a domain."""
    side, warped = samples.images.shape[-1], options.teacher_view == "warped"
    surface = resize_maps(teacher.embed(samples.images if warped else samples.originals), side)
    if options.teacher_norm == "unit":
        surface = F.normalize(surface.float(), dim=1)
    return surface if warped else warp(surface, sampling_grid(samples.affine, side, side, side, side), "border")
