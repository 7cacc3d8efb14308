"""CATs as its authors trained it: a matcher that learns nothing here."""

from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.faces.batches import PairBatch
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING, FloorModule
from dife_lightning.methods._flow_transfer import transfer_by_flow
from dife_lightning.pretrained.formats.cats import load_cats

METHOD = "PublicCATs"


class PublicCATs(FloorModule):
    """Transfer with public weights of CATs, trained on pairs of photographs within a class.

    It learns nothing, so that it is tested like a floor: without a checkpoint, and never fitted.

    Args:
        weights: a name such as ``own/cats-spair``, a folder of the authors' (``args.pkl`` and ``model_best.pth``), or
            its file of weights.
        rounding: cut points to whole pixels of the network's images before they are moved, as the public evaluation
            does.
    """

    def __init__(self, weights: str = "own/cats-spair", rounding: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weights, self.rounding = weights, rounding

    @torch.no_grad()
    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the source points (B, P, 2) float32, moved by the flow into the target images."""
        # The network comes from the cache of frozen parts: it is no submodule and is in no state_dict.
        network = load_cats(self.weights).to(batch.source_image.device)
        return transfer_by_flow(network, batch, self.rounding)
