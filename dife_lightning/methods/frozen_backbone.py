"""A pretrained vision network, frozen: DINOv2, DINOv3, ViT, ResNet, ..."""

from __future__ import annotations

from dife_lightning.methods.frozen_embedder import FrozenEmbedder
from dife_lightning.nn.backbone import BackboneOptions
from dife_lightning.pretrained.backbones import backbone_name
from dife_lightning.pretrained.embedders import load_embedder

METHOD = "FrozenBackbone"


class FrozenBackbone(FrozenEmbedder):
    """Transfer with a frozen backbone of ``transformers``; it learns nothing and is tested like a floor.

    Args:
        model: a folder, ``own/<name>``, or a name on the Hugging Face hub, such as ``facebook/dinov2-small``.
        layer: which output; -1 is the last, see :class:`~dife_lightning.nn.backbone.BackboneOptions`.
        side: the images are resized to this many pixels; None uses the model's own size.
        unit_length: return unit vectors, so that a search by dot product compares directions.
        upsample: resize the map to the image, so that a search answers with a pixel, as for the other methods. False
            answers with the corners of coarse cells.
    """

    def __init__(
        self, model: str, layer: int = -1, side: int | None = None, unit_length: bool = True, upsample: bool = True
    ) -> None:
        options = BackboneOptions(layer=layer, side=side, upsample=upsample, unit_length=unit_length)
        super().__init__(backbone_name(model, options))
        self.save_hyperparameters()
        self.hparams.pop("embedder", None)  # it follows from the others; the command line does not save it at all

    def setup(self, stage: str) -> None:
        """Load the backbone, so that a missing one is reported before any pair is made; refuse to be fitted."""
        super().setup(stage)
        load_embedder(self.embedder)
