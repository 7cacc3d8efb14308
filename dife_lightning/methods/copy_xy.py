"""Floor: the source's coordinates, copied."""

from __future__ import annotations

from torch import Tensor

from dife_lightning.faces.batches import PairBatch
from dife_lightning.geometry.coordinates import resize_points
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING, FloorModule

METHOD = "CopyXY"


class CopyXY(FloorModule):
    """The same place in the other image: the error that similar crops alone achieve."""

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the source points (B, P, 2), scaled if the target image has another size."""
        source, target = batch.source_image.shape[-2:], batch.target_image.shape[-2:]
        return resize_points(batch.source_points.float(), (source[1], source[0]), (target[1], target[0]))
