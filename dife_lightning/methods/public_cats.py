"""CATs with the weights of its authors; it is not trained here."""

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

    It learns nothing and is tested like a floor: without a checkpoint, and it cannot be fitted.

    Args:
        weights: a name such as ``own/cats-spair``, a folder of the authors' (``args.pkl`` and ``model_best.pth``), or
            its file of weights.
        rounding: truncate points to whole pixels of the network's images first, as the public evaluation does.
    """

    def __init__(self, weights: str = "own/cats-spair", rounding: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weights, self.rounding = weights, rounding

    @torch.no_grad()
    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the source points (B, P, 2) float32, carried by the flow to the target images."""
        # The network comes from the process-wide cache: it is no submodule and in no state_dict.
        network = load_cats(self.weights).to(batch.source_image.device)
        return transfer_by_flow(network, batch, self.rounding)
