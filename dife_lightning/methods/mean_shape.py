"""Floor: the mean face of the target species."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor

from dife_lightning.methods._base import FloorModule
from dife_lightning.schemes import to_layout

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairBatch

METHOD = "MeanShape"


class MeanShape(FloorModule):
    """Mean **train** landmarks of the target species under the framing of the pairs; it never looks at an image.

    Only for the embedded world, whose train split gives the mean of any species, also of one never trained on.
    """

    def transfer_batch(self, batch: PairBatch) -> Tensor:
        """Return the same (P, 2) points for each of the B pairs."""
        shape = _mean_layout(batch.species[1], batch.framing, batch.target_image.shape[-1])
        points = torch.from_numpy(shape).to(batch.target_image.device)
        return points.expand(len(batch), -1, -1).clone()


@cache
def _mean_layout(species: str, framing: str, size: int) -> np.ndarray:
    from dife_lightning.world import mean_shape

    points = mean_shape(species, cast(Literal["plain", "jittered"], framing), size)
    return to_layout(np.asarray(points, dtype=np.float32), np.ones(len(points), dtype=bool), "animalweb-9")[0]
