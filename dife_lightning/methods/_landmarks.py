"""Base of landmark models, which find the points of their scheme on single faces.

A landmark model can transfer points between two faces as well, without comparing them: a point of the source is found
in the target by its name. That works for landmarks of the protocols and for named points that the model's scheme has,
and for no other point. Where the source's point really is plays no part, nor does whether the source is a face at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.faces.batches import FaceBatch, PairBatch
from dife_lightning.faces.point_names import canonical
from dife_lightning.faces.schemes import LAYOUT, LAYOUT_POINTS, Scheme, get_scheme, meanings, protocol_members
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.matching import Matches, MatchingOptions
from dife_lightning.method import Method, plain
from dife_lightning.methods._base import DEFAULT_MATCHING
from dife_lightning.utils.notes import some

#: Key of a checkpoint, and the largest side of a crop in pixels that one may state.
TRAINED_ON, LARGEST = "trained_on", 8192


class LandmarkModule(Method):
    """Base of methods that find landmarks on single faces; a subclass defines ``detect`` and sets ``scheme``."""

    #: The mean error over the domains, which ``LandmarkError`` logs; pairs of faces do not give it.
    monitor: ClassVar[str] = "val/nme"
    #: Which points the model finds, in which order: the name of a scheme, or a scheme.
    scheme: str | Scheme = "animalweb-9"
    #: What a checkpoint states of the crops of the training: ``size``, and ``crop`` options of photographs; or nothing.
    trained_on: Mapping[str, Any] = {}

    def detect(self, images: Tensor) -> Detections:
        """Find the landmarks of single faces.

        Args:
            images: (B, 3, H, W) in [-1, 1].

        Returns:
            Points (B, K, 2), x then y, in pixels of ``images``, in the order of ``scheme``, and scores (B, K), higher
            is better; both float32.
        """
        raise NotImplementedError

    def detect_batch(self, batch: FaceBatch) -> Detections:
        """Return the detections of a batch; a floor may look at more of it than the images, but not at the truth."""
        return self.detect(batch.images)

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the points (B, P, 2) of the target that the model finds, whatever the source shows.

        ``matching`` is ignored.

        Raises:
            ConfigError: points without a name, or points or a protocol that ``scheme`` does not have.
        """
        if batch.source_points.shape[1] != LAYOUT_POINTS + len(batch.own):
            raise ConfigError(
                f"{type(self).__name__} transfers the landmarks of the protocols {', '.join(LAYOUT)} and named points "
                f"alone, found {batch.source_points.shape[1]} points; score it on single faces, with LandmarkError"
            )
        scheme = get_scheme(self.scheme)
        weights = _layout_weights(scheme, batch.own).to(batch.target_image.device)
        lacking = [name for name, row in zip(batch.own, weights[LAYOUT_POINTS:], strict=True) if not row.any()]
        if lacking:
            has = some(scheme.landmarks, 9)
            raise ConfigError(f"{type(self).__name__} has no point {some(lacking)}, which is scored; it has {has}")
        if not batch.own and bool((batch.visible & ~weights.any(dim=1)).any()):
            has = ", ".join(scheme.maps) or "none"
            raise ConfigError(
                f"scheme '{scheme.name}' of {type(self).__name__} lacks a protocol of the pairs; it has {has}"
            )
        return weights @ self.detect(batch.target_image).points.float()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callback that evaluates finds the landmarks."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callback that evaluates finds the landmarks."""

    def predict_step(
        self, batch: FaceBatch | PairBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> Detections | Matches:
        """Return the detections of single faces; of pairs, the transferred points."""
        return Matches(self.transfer_batch(batch)) if isinstance(batch, PairBatch) else self.detect_batch(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the method, and the crops that it is trained on, so that others are cropped alike."""
        super().on_save_checkpoint(checkpoint)
        trainer = self._trainer
        fits = trainer is not None and trainer.state.fn == TrainerFn.FITTING
        data = getattr(trainer, "datamodule", None) if fits else None
        crop = getattr(data, "crop", None)
        found = {"size": getattr(data, "size", None), "crop": plain(crop) if isinstance(crop, CropOptions) else None}
        found = {key: value for key, value in found.items() if value is not None} or dict(self.trained_on)
        if found:
            checkpoint[TRAINED_ON] = found

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the checkpoint states of the crops; ``size`` becomes theirs."""
        super().on_load_checkpoint(checkpoint)
        self.trained_on = trained_on(checkpoint)
        self.size = self.trained_on.get("size", self.size)


def trained_on(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint states of the crops that its landmark model was trained on.

    Returns:
        ``size``, their side in pixels, and ``crop``, their options as plain values; without what is not stated.

    Raises:
        CheckpointError: values of another kind.
    """
    found = checkpoint.get(TRAINED_ON) or {}
    size, crop = (found.get(key) for key in ("size", "crop")) if isinstance(found, dict) else (found, None)
    if not (size is None or (type(size) is int and 8 <= size <= LARGEST)) or not isinstance(crop, dict | None):
        raise CheckpointError(
            f"the checkpoint has '{TRAINED_ON}': {str(found)[:60]}; expected the size and the options of a crop"
        )
    return {key: value for key, value in (("size", size), ("crop", crop)) if value is not None}


def _layout_weights(scheme: Scheme, own: Sequence[str]) -> Tensor:
    """Return (P, K) weights that make a scheme's points those of all protocols and those named ``own``; 0 without."""
    weights = torch.zeros(LAYOUT_POINTS + len(own), len(scheme.landmarks))
    groups: dict[int, Sequence[int]] = {}
    for protocol in scheme.maps:
        groups |= dict(enumerate(protocol_members(scheme, protocol), LAYOUT[protocol].start))
    meant = {canonical(name): group for name, group in reversed(meanings(scheme).items())}
    groups |= {row: meant.get(canonical(name), ()) for row, name in enumerate(own, LAYOUT_POINTS)}
    for row, group in groups.items():
        weights[row, list(group)] = 1 / max(1, len(group))
    return weights
