"""Samples of generators: the same latents in several domains, and with several truncations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.pretrained.generators import Generator
from dife_lightning.utils.checks import require
from dife_lightning.utils.randomness import normal


@torch.no_grad()
def sample_images(
    generators: Mapping[str, Generator], count: int = 8, truncations: Sequence[float] = (0.7,), seed: int = 0
) -> dict[tuple[str, float], Tensor]:
    """Return images (count, 3, R, R) in [-1, 1] of each generator and truncation, all from the same z.

    Args:
        generators: name -> generator.
        count: images of each.
        truncations: psi, from 0 (the mean face) up to 1 (none).
        seed: of z.

    Raises:
        ConfigError: no generator or truncation, or a number out of its range.
    """
    require(at_least=1, at_most=256, count=count)
    require(at_least=0, seed=seed)
    require(at_least=0, at_most=2, truncations=list(truncations))
    if not generators or not truncations:
        raise ConfigError("samples: expected one or more generators, and one or more truncations")
    images = {}
    for name, generator in generators.items():
        z = normal((count, generator.z_dim), seed, "samples").to(generator.device)
        for psi in truncations:
            images[name, psi] = torch.cat([generator.image(generator.map(part, truncation=psi)) for part in z.split(8)])
    return images
