"""A surface teacher of photographs: a network that learns the surface code from clicks, in the role of CSE.

CSE has a code for each place of the animal's surface, and annotators clicked some points of each image. Here the clicks
are a few landmarks of few faces. Between them the coordinates are interpolated, because the surface is smooth. Like
CSE's, the network starts from ImageNet's weights.

Reference: Continuous Surface Embeddings, NeurIPS 2020 (the role, not the network).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.faces.batches import ClickBatch
from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.losses.clicks import between_clicks_loss, click_loss
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._training import EncoderModule
from dife_lightning.nn.surface import check_code
from dife_lightning.pretrained.encoders import EncoderOptions
from dife_lightning.utils.checks import as_options, require

METHOD = "ClickTeacher"


class ClickTeacher(EncoderModule):
    """Regress the surface code at clicks and between them.

    Args:
        dim: channels n of the code, an even number.
        code_scale: standard deviation of the code's frequencies in turns per unit; low means coarse.
        lambda_between: weight of the pixels between the clicks; that of the clicks is 1.
        encoder: the network; that of ImageNet by default.
        optimizer: Adam and its schedule.

    Raises:
        ConfigError: an odd ``dim``, an unknown network, or a number out of its range.
    """

    #: Side of the faces that the shipped configuration trains on.
    size = 64
    unit_length = True

    def __init__(
        self,
        dim: int = 16,
        code_scale: float = 0.5,
        lambda_between: float = 1.0,
        encoder: EncoderOptions = EncoderOptions(backbone="imagenet/mobilenet_v2"),  # noqa: B008 - frozen
        optimizer: OptimizerOptions = OptimizerOptions(schedule="cosine"),  # noqa: B008
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.keep_plain_settings()
        check_code(dim, code_scale)
        require(at_least=0, lambda_between=lambda_between)
        self.dim, self.code_scale, self.lambda_between = dim, code_scale, lambda_between
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        self.build_encoder(encoder, dim)

    def training_step(self, batch: ClickBatch, batch_idx: int) -> Tensor:
        """One step: embed the faces and compare with the codes at the clicks and between them."""
        embedding = self.encoder(channels_last(batch.images))
        losses = {"clicks": click_loss(embedding, batch, self.code_scale)}
        if self.lambda_between:
            losses["between"] = self.lambda_between * between_clicks_loss(embedding, batch, self.code_scale)
        total = torch.stack(list(losses.values())).sum()
        self.log("train/loss", total, prog_bar=True)
        self.log_dict({f"train/loss_{name}": loss for name, loss in losses.items()})
        return total
