"""Floor: the mean face of the target species."""

from __future__ import annotations

from functools import cache
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.schemes import to_layout
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING, FloorModule

METHOD = "MeanShape"


class MeanShape(FloorModule):
    """Mean landmarks of the target species under the framing of the pairs; it never looks at an image.

    In the embedded world it is the mean of the **train** split, which has every species, also those never trained on.
    For photographs it is the mean that the data module returns (``mean_points``), of faces outside the test lists.
    """

    needs_species = True

    def __init__(self) -> None:
        super().__init__()
        self._shapes: dict[str, np.ndarray] = {}

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the same (P, 2) points for each of the B pairs."""
        points = torch.from_numpy(self._shape(batch)).float().to(batch.target_image.device)
        return points.expand(len(batch), -1, -1).clone()

    def _shape(self, batch: PairBatch) -> np.ndarray:
        data = getattr(self._trainer, "datamodule", None)
        mean_points = getattr(getattr(data, "evaluation", data), "mean_points", None)
        if mean_points is None:
            return _mean_layout(batch.species[1], batch.framing, batch.target_image.shape[-1])
        domain = batch.species[1]
        if domain not in self._shapes:
            self._shapes[domain] = mean_points(domain)
        return self._shapes[domain]


@cache
def _mean_layout(species: str, framing: str, size: int) -> np.ndarray:
    from dife_lightning.world import mean_shape

    points = mean_shape(species, cast(Literal["plain", "jittered"], framing), size)
    return to_layout(np.asarray(points, dtype=np.float32), np.ones(len(points), dtype=bool), "animalweb-9")[0]
