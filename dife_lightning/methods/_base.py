"""What every method offers to an evaluation: points transferred for a batch of pairs.

Settings of an evaluation (similarity, sub-pixel) are not hyper-parameters here: a checkpoint's hyper-parameters beat
explicit flags in Lightning's command line, so a table could be computed with an old setting. The callback that
evaluates sets ``matching`` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.loading import stamp
from dife_lightning.matching import MatchingOptions, transfer
from dife_lightning.registry import method_name

if TYPE_CHECKING:
    from dife_lightning.faces.batches import PairBatch


class MatcherModule(L.LightningModule):
    """Base of methods that carry points from a source to a target image."""

    #: Whether `dife test` needs a trained checkpoint of this method.
    needs_checkpoint: ClassVar[bool] = True
    #: The logged value, lower is better, by which the best checkpoint is chosen.
    monitor: ClassVar[str] = "val/pixel_error"
    #: Raised when the same settings give another result than before, so that tables make its cells again.
    version: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.matching = MatchingOptions()

    def transfer_batch(self, batch: PairBatch) -> Tensor:
        """Return the transferred points (B, P, 2) float32, pixels of the target images."""
        raise NotImplementedError

    def search(self, source: Tensor, target: Tensor, batch: PairBatch) -> Tensor:
        """Return where the target's map (B, n, h, w) is most like the source's at its points: (B, P, 2), as above."""
        return transfer(
            source,
            target,
            batch.source_points,
            source_size=_size(batch.source_image),
            target_size=_size(batch.target_image),
            similarity=self.matching.similarity,
            subpixel=self.matching.subpixel,
        )

    def validation_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Transfer; the callback scores what is returned."""
        return self.transfer_batch(batch)

    def test_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Transfer; the callback scores what is returned."""
        return self.transfer_batch(batch)

    def predict_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Transfer; the callback writes what is returned."""
        return self.transfer_batch(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record which method wrote the checkpoint."""
        stamp(checkpoint, self)


class EmbedderModule(MatcherModule):
    """Base of methods with a dense embedding; they match by nearest-neighbour search in it."""

    def embed(self, images: Tensor) -> Tensor:
        """Return the embedding (B, n, h, w) of ``images`` (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError

    def transfer_batch(self, batch: PairBatch) -> Tensor:
        """Embed both images and search; TrainingError if the embedding is not finite."""
        embedding = self.embed(torch.cat((batch.source_image, batch.target_image)))
        if not bool(embedding.isfinite().all()):
            raise TrainingError("the embedding holds NaN or infinity: go back to an earlier checkpoint, lower the lr")
        source, target = embedding.chunk(2)
        return self.search(source, target, batch)


class FloorModule(MatcherModule):
    """Base of floors: matchers that learn nothing and show what the framing of the images alone gives."""

    needs_checkpoint: ClassVar[bool] = False

    def setup(self, stage: str) -> None:
        """Refuse to be fitted."""
        if stage == "fit":
            name = method_name(type(self)) or type(self).__name__
            raise ConfigError(f"method '{name}' has nothing to learn: use `dife test` with it, not `dife fit`")

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Never reached: ``setup`` refuses."""

    def configure_optimizers(self) -> None:
        """No optimiser."""


def _size(images: Tensor) -> tuple[int, int]:
    """Return (width, height) of (B, C, H, W) images."""
    return images.shape[-1], images.shape[-2]
