"""Any trained landmark model as a method of correspondence."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.faces.schemes import Scheme
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._base import FloorModule
from dife_lightning.methods._landmarks import LandmarkModule
from dife_lightning.utils.caching import ObjectCache

METHOD = "FrozenLandmarks"

_loaded: ObjectCache[LandmarkModule] = ObjectCache()


class FrozenLandmarks(LandmarkModule, FloorModule):  # type: ignore[misc]  # it predicts single faces, too
    """Transfer with a trained landmark model: the points of the target that it finds, whatever the source shows.

    So a few labelled faces can be compared with correspondence, on the same pairs. It transfers the landmarks of the
    protocols that the model's points have by their names, and no other point. It learns nothing, and is tested without
    a checkpoint.

    Args:
        model: a shipped landmark model such as ``photos/human-landmarks``, a run, a checkpoint, or an ``own/...`` name.
    """

    def __init__(self, model: str = "photos/human-landmarks") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = model

    @property
    def scheme(self) -> str | Scheme:  # type: ignore[override]
        """The points that the model finds."""
        return self._trained().scheme

    @property
    def size(self) -> int:  # type: ignore[override]
        """Side of the images that the model was trained on, if it says so."""
        return self._trained().size

    @torch.no_grad()
    def detect(self, images: Tensor) -> Detections:
        """Find the landmarks of images (B, 3, H, W) in [-1, 1]; see the base class."""
        return self._trained().to(images.device).detect(images)

    def _trained(self) -> LandmarkModule:
        """Return the model from the process-wide cache: it is no submodule and in no state_dict.

        Raises:
            CheckpointError: no such model, a damaged file, or another method.
        """
        from dife_lightning.loading import method_file  # imports all methods

        path = method_file(self.model)
        return _loaded.load(path, _load) if path.is_file() else _load(path)


def _load(path: Path) -> LandmarkModule:
    from dife_lightning.loading import load

    found = load(path)
    if not isinstance(found, LandmarkModule):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, which finds no landmarks")
    return found.requires_grad_(False)
