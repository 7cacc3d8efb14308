"""Converters Ψ^d: from the common embedding to the generator's feature space of one domain.

The paper says "three consecutive 7x7 convolutions"; the official code and checkpoint have 7x7-GN-ReLU, 7x7-GN-ReLU,
1x1, which is the default.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.nn.group_norm import GroupNorm
from dife_lightning.utils.checks import require_choice

ConverterKind = Literal["official", "paper"]


class Converter(nn.Module):
    """Ψ of one domain.

    Args:
        dim: channels n of the embedding.
        features: channels n_d of the generator's tapped layer.
        kind: ``official`` ends in a 1x1 convolution, ``paper`` in a third 7x7.
        hidden: channels between the layers.
        groups: groups of the group normalisation.
        kernel: side of the large kernels.
    """

    def __init__(
        self,
        dim: int,
        features: int,
        kind: ConverterKind = "official",
        hidden: int = 64,
        groups: int = 16,
        kernel: int = 7,
    ) -> None:
        super().__init__()
        require_choice("converter", kind, get_args(ConverterKind))
        if hidden % groups:
            raise ConfigError(f"converter: hidden={hidden} is not a multiple of groups={groups}; change either")
        last = kernel if kind == "paper" else 1
        self.layer1 = nn.Conv2d(dim, hidden, kernel, padding=kernel // 2)
        self.layer1_norm = GroupNorm(groups, hidden)
        self.layer2 = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2)
        self.layer2_norm = GroupNorm(groups, hidden)
        self.layer3 = nn.Conv2d(hidden, features, last, padding=last // 2)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map (B, dim, h, w) to (B, features, h, w)."""
        x = F.relu(self.layer1_norm(self.layer1(embedding)))
        x = F.relu(self.layer2_norm(self.layer2(x)))
        return self.layer3(x)


class Converters(nn.ModuleDict):
    """One :class:`Converter` per domain, by name."""

    def __init__(self, converters: Mapping[str, Converter]) -> None:
        super().__init__(converters)

    def forward(self, embedding: Tensor, domain: str) -> Tensor:
        """Map (B, dim, h, w) to (B, n_d, h, w), the features of ``domain``; ConfigError if it has no converter."""
        if domain not in self:
            raise ConfigError(f"no converter for domain '{domain}'. {did_you_mean(domain, self.keys())}")
        return self[domain](embedding)
