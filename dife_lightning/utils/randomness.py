"""Random numbers as a pure function of their purpose; they do not depend on the process or the order of draws."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """Return a 63-bit seed for a purpose, e.g. ``seed_of(seed, "pairs", step)``; words are hashed by CRC-32."""
    numbers = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in parts]
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def torch_generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by :func:`seed_of`."""
    return torch.Generator().manual_seed(seed_of(*parts))


def normal(shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Return standard normal numbers for a purpose."""
    return torch.randn(shape, generator=torch_generator(*parts))


def uniform(shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Return numbers in [0, 1) for a purpose."""
    return torch.rand(shape, generator=torch_generator(*parts))
