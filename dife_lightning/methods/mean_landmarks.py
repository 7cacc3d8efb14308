"""Floor: the mean landmarks of a few labelled faces."""

from __future__ import annotations

import torch
from lightning import LightningDataModule
from torch import Tensor

from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._label_floors import LabelFloor

METHOD = "MeanLandmarks"


class MeanLandmarks(LabelFloor):
    """The mean of the labelled faces' landmarks, each relative to its crop; it never looks at an image.

    Each landmark is averaged over the faces that show it.

    Args:
        labels: data module with few labelled faces (``FewLabels``, ``WorldFewLabels``); None for that of the test.
        flip: average over the mirror images, too, if the scheme has mirror pairs.
    """

    def __init__(self, labels: LightningDataModule | None = None, flip: bool = True) -> None:
        super().__init__(labels, flip)
        self.save_hyperparameters(ignore=["labels"])

    def detect(self, images: Tensor) -> Detections:
        """Return the same points for each of the images (B, 3, H, W); the score of a known landmark is 1."""
        mean = self.known().mean_points(images.shape[-1], images.shape[-2]).to(images.device)
        points = mean.expand(len(images), -1, -1).clone()
        return self.completed(Detections(points, torch.ones_like(points[..., 0])), images)
