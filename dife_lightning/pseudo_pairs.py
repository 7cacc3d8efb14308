"""Pseudo-pairs: an image of one domain and the image, found by latent exploration, that shares its geometry.

The bank keeps what made each pair (the two w and the drawing's number) beside the images, so that a checkpoint needs
only the former.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class PseudoPairs:
    """N pairs of one ordered pair of domains.

    Attributes:
        original: (N, 3, S, S) in [-1, 1], of the first domain.
        partner: (N, 3, S, S) in [-1, 1], of the second.
        original_w: (N, num_ws, w_dim) of the first domain's generator.
        partner_w: (N, num_ws, w_dim) of the second domain's generator.
        index: (N,) int64 number of the drawing.
        start_distance: (N,) feature distance where the exploration started.
        distance: (N,) feature distance where it ended.
        w_distance: (N,) distance of ``partner_w`` to the mean w.
    """

    original: Tensor
    partner: Tensor
    original_w: Tensor
    partner_w: Tensor
    index: Tensor
    start_distance: Tensor
    distance: Tensor
    w_distance: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.index)

    def rows(self, keep: Tensor | slice) -> PseudoPairs:
        """Return the chosen pairs."""
        return PseudoPairs(*(getattr(self, f.name)[keep] for f in fields(self)))

    def join(self, other: PseudoPairs) -> PseudoPairs:
        """Return these pairs followed by ``other``."""
        return PseudoPairs(*(torch.cat((getattr(self, f.name), getattr(other, f.name))) for f in fields(self)))

    def best(self, share: float) -> PseudoPairs:
        """Return the ``share`` of pairs with the smallest feature distance, in their old order."""
        count = max(1, round(share * len(self)))
        return self if count == len(self) else self.rows(self.distance.argsort()[:count].sort().values)


class PairBank:
    """The pairs at hand, per ordered pair of domains, at most ``size`` each; the oldest leave first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pairs: dict[tuple[str, str], PseudoPairs] = {}

    def __len__(self) -> int:
        """Return the number of pairs of all kinds."""
        return sum(len(p) for p in self.pairs.values())

    def add(self, source: str, target: str, pairs: PseudoPairs) -> None:
        """Add pairs, dropping the oldest beyond ``size``."""
        old = self.pairs.get((source, target))
        joined = pairs if old is None else old.join(pairs)
        self.pairs[source, target] = joined.rows(slice(-self.size, None))

    def sample(self, source: str, target: str, count: int, generator: torch.Generator) -> PseudoPairs:
        """Draw ``count`` pairs of a kind, without repetition where there are enough."""
        pairs = self.pairs[source, target]
        order = torch.randperm(len(pairs), generator=generator)
        rows = order.repeat(-(-count // len(pairs)))[:count]
        return pairs.rows(rows.to(pairs.index.device))
