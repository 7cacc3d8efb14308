"""Floor: the landmarks of the labelled face that looks most alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from torch import Tensor

from dife_lightning.geometry.coordinates import resize_maps, resize_points
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._label_floors import LabelFloor
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.utils.checks import require

METHOD = "NearestLabel"
#: Cells along a side of the small grey image.
_GREY_GRID = 16


class NearestLabel(LabelFloor):
    """The landmarks of the labelled face whose image is most similar, relative to its crop.

    Images are compared by the cosine of small grey images without their mean, or of an embedder's maps, pooled to
    ``grid`` x ``grid`` cells. A landmark that the most similar face does not show is that of the most similar one that
    does. The score of a landmark is the cosine of its face.

    Args:
        labels: data module with few labelled faces (``FewLabels``, ``WorldFewLabels``); None for that of the test.
        embedder: of the images, any that ``load_embedder`` reads; None compares grey images.
        grid: cells along a side; None for 16 of a grey image, and 1 (pooled over the whole image) of an embedder's map.
        flip: the mirror images are candidates, too, if the scheme has mirror pairs.

    Raises:
        ConfigError: a ``grid`` below 1, or below 2 for grey images.
    """

    def __init__(
        self,
        labels: LightningDataModule | None = None,
        embedder: str | None = None,
        grid: int | None = None,
        flip: bool = True,
    ) -> None:
        super().__init__(labels, flip)
        self.save_hyperparameters(ignore=["labels"])
        require(at_least=2 if embedder is None else 1, grid=grid)
        self.embedder = embedder
        self.grid = grid or (_GREY_GRID if embedder is None else 1)
        self._described: Tensor | None = None

    def detect(self, images: Tensor) -> Detections:
        """Return the landmarks of the most similar labelled faces; see the base class."""
        known = self.known()
        if self._described is None:
            self._described = torch.cat([self._describe(part) for part in known.images.to(images.device).split(32)])
        cosine = self._describe(images) @ self._described.to(images.device).T
        seen = known.visible.to(images.device)
        scores, rows = cosine[..., None].masked_fill(~seen, -2).max(dim=1)  # (B, N, K): below any cosine
        old, new = known.images.shape, images.shape
        points = resize_points(known.points.to(images.device), (old[-1], old[-2]), (new[-1], new[-2]))
        found = points[rows, torch.arange(rows.shape[1], device=rows.device)]
        return self.completed(Detections(found, scores), images)

    def _describe(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, n) of images (B, 3, H, W)."""
        with torch.autocast(images.device.type, enabled=False):
            if self.embedder is None:
                small = resize_maps(images.float().mean(dim=1, keepdim=True), self.grid).flatten(1)
                return F.normalize(small - small.mean(dim=1, keepdim=True), dim=1)
            maps = load_embedder(self.embedder).to(images.device).embed(images).float()
            return F.normalize(resize_maps(maps, self.grid).flatten(1), dim=1)
