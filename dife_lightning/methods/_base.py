"""Bases of the methods that transfer points: of all, of those with an embedding, of those that learn nothing.

The options of an evaluation (similarity, sub-pixel) are arguments of the transfer, not hyper-parameters of a method, so
that a checkpoint's score depends on the evaluation alone and no old setting comes back with a checkpoint.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.matching import Matches, MatchingOptions, match_scores, transfer
from dife_lightning.method import Method
from dife_lightning.registry import method_name

DEFAULT_MATCHING = MatchingOptions()


class MatcherModule(Method):
    """Base of methods that transfer points from a source to a target image."""

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Transfer the source points of a batch.

        Args:
            batch: B pairs with P points each.
            matching: how embeddings are compared; a method without an embedding ignores it.

        Returns:
            (B, P, 2) float32, pixels of the target images.
        """
        raise NotImplementedError

    def match_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Matches:
        """Return the points of ``transfer_batch``, with their scores if the method has any."""
        return Matches(self.transfer_batch(batch, matching))

    def validation_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callback that evaluates transfers the batch, with its own options."""

    def test_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callback that evaluates transfers the batch, with its own options."""

    def predict_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> Matches:
        """Return points and scores, found with the default matching options."""
        return self.match_batch(batch)


class EmbedderModule(MatcherModule):
    """Base of methods with a dense embedding; they match by nearest-neighbour search in it."""

    def embed(self, images: Tensor) -> Tensor:
        """Return the embedding (B, n, h, w) of ``images`` (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Embed both images and search; TrainingError if the embedding is not finite."""
        return search(*self._embedded(batch), batch, matching)

    def match_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Matches:
        """Return the points of ``transfer_batch``; a score is the cosine similarity of both embeddings, in [-1, 1]."""
        source, target = self._embedded(batch)
        points = search(source, target, batch, matching)
        sizes = {"source_size": _size(batch.source_image), "target_size": _size(batch.target_image)}
        scores = match_scores(
            source, target, batch.source_points, points, **sizes, subpixel=matching.subpixel or matching.window > 0
        )
        return Matches(points, scores)

    def _embedded(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        embedding = self.embed(torch.cat((batch.source_image, batch.target_image)))
        if not bool(embedding.isfinite().all()):
            raise TrainingError(
                "the embedding contains NaN or infinity; use an earlier checkpoint or lower the learning rate"
            )
        source, target = embedding.chunk(2)
        return source, target


class FloorModule(MatcherModule):
    """Base of methods that learn nothing; floors show what the framing of the images alone achieves."""

    needs_checkpoint: ClassVar[bool] = False

    def setup(self, stage: str) -> None:
        """Refuse to be fitted."""
        if stage == "fit":
            name = method_name(type(self)) or type(self).__name__
            raise ConfigError(f"method '{name}' has nothing to learn; use `dife test`, not `dife fit`")

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Never reached: ``setup`` refuses."""

    def configure_optimizers(self) -> None:
        """No optimiser."""


def search(source: Tensor, target: Tensor, batch: PairBatch, matching: MatchingOptions) -> Tensor:
    """Search in the target's embedding for the source points of ``batch``.

    Args:
        source: (B, n, h, w) embedding of the source images.
        target: (B, n, h', w') embedding of the target images.
        batch: B pairs with P points each.
        matching: how embeddings are compared.

    Returns:
        (B, P, 2) float32, pixels of the target images.
    """
    return transfer(
        source,
        target,
        batch.source_points,
        source_size=_size(batch.source_image),
        target_size=_size(batch.target_image),
        **vars(matching),
    )


def _size(images: Tensor) -> tuple[int, int]:
    """Return (width, height) of (..., H, W) images."""
    return images.shape[-1], images.shape[-2]
