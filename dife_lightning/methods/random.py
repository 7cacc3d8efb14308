"""Floor: a point drawn uniformly over the target image."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from dife_lightning.faces.batches import PairBatch
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING, FloorModule

METHOD = "RandomPoint"


class RandomPoint(FloorModule):
    """A uniform point for each pair and landmark; two uniform points are 36.5 px of 70 apart on average.

    Args:
        seed: a draw depends on the seed, the pair's name and the landmark only.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.seed = seed

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return (B, P, 2) points within the target image, that is, from -0.5 to side - 0.5."""
        count = batch.source_points.shape[1]
        unit = torch.from_numpy(np.stack([self._draw(pair_id, count) for pair_id in batch.pair_id]))
        height, width = batch.target_image.shape[-2:]
        points = unit * torch.tensor([width, height]) - 0.5
        return points.float().to(batch.target_image.device)

    def _draw(self, pair_id: str, count: int) -> np.ndarray:
        digest = hashlib.sha256(f"{self.seed}|{pair_id}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32)).random((count, 2))
