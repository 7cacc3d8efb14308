"""Whether a surface teacher tells places apart: how much its embedding varies over an image.

A teacher that embeds a surface moves its vectors in at least three directions over a face and its background: one from
background to face, and two along the surface. One that has only learnt a mask moves them between two vectors, and unit
vectors between two lie in a plane, so that the third direction is empty. A constant one has none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.geometry.coordinates import resize_maps
from dife_lightning.pretrained.embedders import Embedder
from dife_lightning.pretrained.generators import Generator
from dife_lightning.utils.randomness import normal

#: Least variation of a teacher that is worth learning from. Measured at 64 px on generators of the embedded world:
#: ``world/teacher`` 0.17 to 0.20; a constant and a mask-only teacher with noise of 0.02 in each channel 0.015 and 0.02,
#: without noise 0.
LIMIT = 0.05
#: Images of each domain, and the largest side of the maps that are compared.
SAMPLES, SIDE = 4, 32


def variation(maps: Tensor) -> float:
    """Return the mean over images of the deviation of unit vectors along their third principal direction, 0 to 0.58.

    Args:
        maps: (B, n, h, w), n at least 3; vectors of any length.
    """
    maps = maps.detach().float().cpu()  # Apple GPUs have no singular values
    if min(maps.shape[-2:]) > SIDE:
        maps = resize_maps(maps, SIDE)
    vectors = F.normalize(maps, dim=1).flatten(2).transpose(1, 2)
    if not torch.isfinite(vectors).all():
        return 0.0
    values = torch.linalg.svdvals(vectors - vectors.mean(1, keepdim=True))
    third = values[:, 2] if values.shape[1] > 2 else values[:, -1]
    return float(third.mean() / vectors.shape[1] ** 0.5)


@torch.no_grad()
def teacher_variation(
    teacher: Embedder, generator: Generator, domain: str, size: int, truncation: float, seed: int
) -> float:
    """Return the :func:`variation` of ``teacher`` over :data:`SAMPLES` images of a domain, resized to ``size`` px."""
    z = normal((SAMPLES, generator.z_dim), seed, "statistics", domain).to(generator.device)
    images = generator.image(generator.map(z, truncation=truncation)).float().clamp(-1, 1)
    return variation(teacher.embed(resize_maps(images, size)))


def near_constant(teacher: str, found: dict[str, float]) -> str | None:
    """Return one line about the domains (domain -> variation) where a teacher is near-constant; None without any."""
    low = {domain: value for domain, value in found.items() if value < LIMIT}
    if not low:
        return None
    told = ", ".join(f"{domain} {value:.3f}" for domain, value in low.items())
    return (
        f"the embedding of surface teacher {teacher} hardly varies over an image (variation {told}; expected at least "
        f"{LIMIT:g}): it may have learnt only a mask, and nothing is to be learnt from it; set model.init_args.teacher "
        "to another, or model.init_args.lambda_k1 to 0"
    )
