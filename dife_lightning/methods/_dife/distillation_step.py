"""What the distillation losses of one step compare the embedding with.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.faces.batches import DomainBatch, PhotoBatch
from dife_lightning.geometry.coordinates import affine_matrix, invert_affine, resize_maps, sampling_grid, warp
from dife_lightning.losses.distillation import distillation_loss
from dife_lightning.methods._dife.options import DistillationOptions
from dife_lightning.pretrained.embedders import Embedder

#: Views beside the original: degrees, scale, and shift in x and y as a fraction of the side.
_VIEWS = (
    (-15, 0.87, 0.06, 0.06), (15, 0.87, -0.06, 0.06), (-15, 1.15, 0.06, -0.06), (15, 1.15, -0.06, -0.06),
    (-20, 1.0, -0.08, 0.0), (20, 1.0, 0.08, 0.0), (0, 0.8, 0.0, 0.08), (0, 1.25, 0.0, -0.08),
)  # fmt: skip


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
    images = samples.images if warped else samples.originals
    surface = resize_maps(averaged_embedding(teacher, images, options.teacher_views), side)  # one view of warped ones
    if options.teacher_norm == "unit":
        surface = F.normalize(surface.float(), dim=1)
    return surface if warped else warp(surface, sampling_grid(samples.affine, side, side, side, side), "border")


def averaged_embedding(teacher: Embedder, images: Tensor, views: int) -> Tensor:
    """Return the teacher's embedding (B, dim, h, w) of images (B, 3, S, S), averaged over ``views`` of them."""
    surface, side = teacher.embed(images), images.shape[-1]
    for view in _VIEWS[: views - 1]:
        numbers = images.new_tensor(view, dtype=torch.float32)
        there = affine_matrix(numbers[:1], numbers[1:2], numbers[None, 2:], side, side).expand(len(images), -1, -1)
        seen = teacher.embed(warp(images, sampling_grid(there, side, side, side, side)))
        back = sampling_grid(invert_affine(there), surface.shape[-2], surface.shape[-1], side, side)
        surface = surface + warp(seen.to(surface.dtype), back, "border")
    return surface / views
