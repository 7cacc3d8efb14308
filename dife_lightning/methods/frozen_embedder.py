"""Any frozen embedder as a method: nearest-neighbour search in its embedding."""

from __future__ import annotations

from torch import Tensor

from dife_lightning.methods._base import EmbedderModule, FloorModule, MatcherModule
from dife_lightning.pretrained.embedders import Embedder, load_embedder

METHOD = "FrozenEmbedder"


def image_side(embedder: Embedder) -> int:
    """Return the side of square images that suits an embedder: its own ``size``, else its input's ``side`` or 96."""
    own = getattr(embedder.module, "size", None)
    return own if isinstance(own, int) else max(MatcherModule.size, getattr(embedder.module, "side", 0))


class FrozenEmbedder(EmbedderModule, FloorModule):
    """Transfer with a frozen embedder: the surface teacher, or the checkpoint of a trained method.

    It learns nothing and is tested like a floor: without a checkpoint, and it cannot be fitted.

    Args:
        embedder: a shipped name, such as ``world/teacher``, or a file that ``load_embedder`` reads.
    """

    def __init__(self, embedder: str = "world/teacher") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.embedder = embedder

    @property
    def size(self) -> int:  # type: ignore[override]
        """Side of the images that the embedder was trained on, if it says so."""
        return image_side(load_embedder(self.embedder))

    def embed(self, images: Tensor) -> Tensor:
        """Return the embedder's map (B, n, h, w) float32 of ``images`` (B, 3, H, W) in [-1, 1]."""
        # The embedder comes from the process-wide cache: it is no submodule and in no state_dict.
        return load_embedder(self.embedder).to(images.device).embed(images).float()
