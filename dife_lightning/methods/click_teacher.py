"""A surface teacher of photographs: a network that learns the surface code from clicks, in the role of CSE.

CSE has a code for each place of the animal's surface, and annotators clicked some points of each image. Here the clicks
are a few landmarks of few faces. Between them the coordinates are interpolated, because the surface is smooth. Like
CSE's, the network starts from ImageNet's weights.

Reference: Continuous Surface Embeddings, NeurIPS 2020 (the role, not the network).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dife_lightning.faces.batches import ClickBatch
from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.losses.clicks import between_clicks_loss, click_loss
from dife_lightning.methods._options import EncoderOptions, OptimizerOptions, as_options
from dife_lightning.methods._training import EncoderModule, make_optimizer
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.nn.surface import check_code
from dife_lightning.pretrained.imagenet import imagenet_file, load_imagenet
from dife_lightning.utils.checks import require

METHOD = "ClickTeacher"


class ClickTeacher(EncoderModule):
    """Regress the surface code at clicks and between them.

    The weights of a pretrained network are part of the checkpoint, which needs no other file and no package.

    Args:
        dim: channels n of the code, an even number.
        code_scale: standard deviation of the code's frequencies in turns per unit; low means coarse.
        lambda_between: weight of the pixels between the clicks; that of the clicks is 1.
        backbone: ``imagenet/mobilenet_v2`` or ``imagenet/efficientnet_lite0``, which is fine-tuned under a feature
            pyramid; None for an hourglass that starts from random weights.
        backbone_rate: learning rate of the pretrained network, as a share of that of the pyramid.
        side: the pretrained network sees images whose shorter side has this many pixels.
        encoder: size of the hourglass.
        optimizer: Adam and its schedule.

    Raises:
        ConfigError: an odd ``dim``, an unknown network, or a number out of its range.
    """

    #: Side of the faces that the shipped configuration trains on.
    size = 64
    unit_length = True
    encoder: HourglassEncoder | PyramidEncoder

    def __init__(
        self,
        dim: int = 16,
        code_scale: float = 0.5,
        lambda_between: float = 1.0,
        backbone: str | None = "imagenet/mobilenet_v2",
        backbone_rate: float = 0.15,
        side: int = 128,
        encoder: EncoderOptions = EncoderOptions(),  # noqa: B008 - frozen
        optimizer: OptimizerOptions = OptimizerOptions(schedule="cosine"),  # noqa: B008
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.keep_plain_settings()
        check_code(dim, code_scale)
        require(at_least=0, lambda_between=lambda_between, backbone_rate=backbone_rate)
        require(at_least=32, side=side)
        self.dim, self.code_scale, self.lambda_between = dim, code_scale, lambda_between
        self.backbone, self.backbone_rate = backbone, backbone_rate
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        if backbone is None:
            self.encoder = as_options(EncoderOptions, encoder).build(dim)
        else:
            known = imagenet_file(backbone)
            self.encoder = PyramidEncoder(known.options, known.pixels, dim, side=side)

    def setup(self, stage: str) -> None:
        """Load the pretrained weights for a fit; AssetError if their package is not installed."""
        if stage == "fit" and self.backbone is not None and isinstance(self.encoder, PyramidEncoder):
            self.encoder.network.load_state_dict(load_imagenet(self.backbone)[0].state_dict())

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

    def configure_optimizers(self) -> Any:
        """Adam with the chosen schedule; a pretrained network learns more slowly than the pyramid."""
        if isinstance(self.encoder, HourglassEncoder):
            return super().configure_optimizers()
        pretrained = list(self.encoder.network.parameters())
        others = [p for name, p in self.encoder.named_parameters() if not name.startswith("network.")]
        rate = self.optimizer_options.lr * self.backbone_rate
        groups: list[dict[str, Any]] = [{"params": others}, {"params": pretrained, "lr": rate}]
        return make_optimizer(groups, self.optimizer_options, 0, self.trainer.max_steps)
