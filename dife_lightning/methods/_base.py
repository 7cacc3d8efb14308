"""Bases of the methods that transfer points: of all, of those with an embedding, of those that learn nothing.

The options of an evaluation (similarity, sub-pixel) are arguments of the transfer, not hyper-parameters of a method, so
that a checkpoint's score depends on the evaluation alone and no old setting comes back with a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.transforms import resize
from dife_lightning.geometry.coordinates import resize_points
from dife_lightning.matching import MatchingOptions, Similarity, transfer
from dife_lightning.method import Method
from dife_lightning.registry import method_name

DEFAULT_MATCHING = MatchingOptions()


class MatcherModule(Method):
    """Base of methods that transfer points from a source to a target image."""

    #: Side of the square to which :meth:`transfer` resizes images (the paper's, unless a method has its own).
    size: int = 96
    #: Whether a transfer needs the species of both images, so that two images alone are not enough.
    needs_species: ClassVar[bool] = False

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Transfer the source points of a batch.

        Args:
            batch: B pairs with P points each.
            matching: how embeddings are compared; a method without an embedding ignores it.

        Returns:
            (B, P, 2) float32, pixels of the target images.
        """
        raise NotImplementedError

    @torch.no_grad()
    def transfer(
        self,
        images: tuple[NDArray[np.uint8] | Tensor, NDArray[np.uint8] | Tensor],
        points: Tensor | NDArray[Any] | Sequence[Sequence[float]],
        *,
        similarity: Similarity = "dot",
        subpixel: bool = False,
    ) -> Tensor:
        """Transfer points from one image to another; see :meth:`dife_lightning.method.Method.transfer`."""
        if self.needs_species:
            raise ConfigError(f"{type(self).__name__} needs the species of both images: use `dife predict` with it")
        if len(images) != 2:
            raise ConfigError(f"transfer: found {len(images)} images; expected two, (source, target)")
        (source, source_size), (target, target_size) = (_prepared(image, self.size) for image in images)
        square, start = (self.size, self.size), torch.as_tensor(points, dtype=torch.float32).cpu()
        if start.ndim != 2 or start.shape[1] != 2:
            raise ConfigError(f"transfer: points of shape {tuple(start.shape)}; expected (P, 2), x then y")
        if not bool(start.isfinite().all()):
            raise ConfigError("transfer: a point is not finite; expected pixels of the source image")
        batch = _batch(source, target, resize_points(start, source_size, square))
        training = self.training
        self.eval()
        try:
            found = self.transfer_batch(batch.to(self.device), MatchingOptions(similarity, subpixel))
        finally:
            self.train(training)
        return resize_points(found[0].float().cpu(), square, target_size)

    def validation_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callback that evaluates transfers the batch, with its own options."""

    def test_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callback that evaluates transfers the batch, with its own options."""

    def predict_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the transferred points (B, P, 2), found with the default matching options."""
        return self.transfer_batch(batch)


class EmbedderModule(MatcherModule):
    """Base of methods with a dense embedding; they match by nearest-neighbour search in it."""

    def embed(self, images: Tensor) -> Tensor:
        """Return the embedding (B, n, h, w) of ``images`` (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Embed both images and search; TrainingError if the embedding is not finite."""
        embedding = self.embed(torch.cat((batch.source_image, batch.target_image)))
        if not bool(embedding.isfinite().all()):
            raise TrainingError("the embedding holds NaN or infinity: go back to an earlier checkpoint, lower the lr")
        source, target = embedding.chunk(2)
        return search(source, target, batch, matching)


class FloorModule(MatcherModule):
    """Base of methods that learn nothing; floors show what the framing of the images alone achieves."""

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
        similarity=matching.similarity,
        subpixel=matching.subpixel,
    )


def _size(images: Tensor) -> tuple[int, int]:
    """Return (width, height) of (..., H, W) images."""
    return images.shape[-1], images.shape[-2]


def _prepared(image: NDArray[np.uint8] | Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Return an image as (1, 3, side, side) in [-1, 1], and its own (width, height)."""
    shape, kind = tuple(image.shape), str(image.dtype).removeprefix("torch.")
    if isinstance(image, Tensor) and image.is_floating_point() and len(shape) == 3 and shape[0] == 3 and 0 not in shape:
        if not bool((image.abs() <= 1 + 1e-3).all()):
            raise ConfigError(f"transfer: an image with values up to {float(image.abs().max()):g}; expected [-1, 1]")
        pixels = (image.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    elif isinstance(image, np.ndarray) and kind == "uint8" and len(shape) == 3 and shape[2] == 3 and 0 not in shape:
        pixels = image
    else:
        raise ConfigError(
            f"transfer: an image of type {kind} and shape {shape}; expected a uint8 array (H, W, 3), as read_image "
            "returns it, or a float tensor (3, H, W) in [-1, 1]"
        )
    resized, _ = resize(pixels, np.zeros((0, 2), np.float32), side)
    maps = torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1)[None].float() / 127.5 - 1
    return maps, (pixels.shape[1], pixels.shape[0])


def _batch(source: Tensor, target: Tensor, points: Tensor) -> PairBatch:
    """Return one pair of images (1, 3, S, S) with the source ``points`` (P, 2) as a batch; it has no truth."""
    name = hashlib.sha256(source.numpy().tobytes() + target.numpy().tobytes()).hexdigest()[:16]
    return PairBatch(
        source_image=source,
        target_image=target,
        source_points=points[None],
        target_points=torch.full_like(points, float("nan"))[None],
        visible=torch.ones(1, len(points), dtype=torch.bool),
        index=torch.zeros(1, dtype=torch.int64),
        pair_id=[name],
        pair="source+target",
        framing="given",
        list_name="given",
    )
