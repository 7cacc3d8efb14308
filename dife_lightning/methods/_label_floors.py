"""Base of floors that know a few labelled faces: they learn nothing and show what these faces alone achieve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import image_tensor
from dife_lightning.faces.schemes import Scheme, flip_permutation
from dife_lightning.geometry.coordinates import mirror_points, to_normalized, to_pixels
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._base import FloorModule
from dife_lightning.methods._landmarks import LandmarkModule
from dife_lightning.utils.notes import many, note, some


@dataclass(frozen=True, eq=False)
class KnownFaces:
    """N labelled faces with K landmarks, on the CPU.

    Attributes:
        images: (N, 3, S, S) in [-1, 1].
        points: (N, K, 2), x then y, in pixels of ``images``; 0 where not visible.
        visible: (N, K) bool.
        scheme: of the landmarks.
    """

    images: Tensor
    points: Tensor
    visible: Tensor
    scheme: Scheme

    def mirrored(self) -> KnownFaces:
        """Return the mirror images; a landmark of the left is then one of the right."""
        order = flip_permutation(self.points.shape[1], self.scheme.flip_pairs)
        points = mirror_points(self.points, self.images.shape[-1])[:, order]
        return KnownFaces(self.images.flip(-1), points, self.visible[:, order], self.scheme)

    def with_mirrored(self) -> KnownFaces:
        """Return the faces, followed by their mirror images."""
        other = self.mirrored()
        images, points = torch.cat((self.images, other.images)), torch.cat((self.points, other.points))
        return KnownFaces(images, points, torch.cat((self.visible, other.visible)), self.scheme)

    def mean_points(self, width: int, height: int) -> Tensor:
        """Return the mean (K, 2) of each landmark over the faces that show it, relative to the crop.

        A landmark that no face shows is at the mean of the others. Points are in pixels of a crop of ``width`` x
        ``height``.
        """
        side = self.images.shape[-1]
        placed = torch.where(self.visible[..., None], to_normalized(self.points, side, side), 0)
        counts = self.visible.sum(dim=0)
        means = placed.sum(dim=0) / counts.clamp(min=1)[:, None]
        centre = means[counts > 0].mean(dim=0)
        return to_pixels(torch.where((counts > 0)[:, None], means, centre), width, height)


class LabelFloor(LandmarkModule, FloorModule):  # type: ignore[misc]  # it predicts single faces, too
    """Base of floors with a few labelled faces; a subclass defines ``detect``.

    Args:
        labels: data module with few labelled faces (``FewLabels``, ``WorldFewLabels``); None for that of the test.
        flip: use the mirror images of the labelled faces, too, if their scheme has mirror pairs.
    """

    def __init__(self, labels: LightningDataModule | None, flip: bool) -> None:
        super().__init__()
        self.labels, self.flip = labels, flip
        self._known: KnownFaces | None = None

    def setup(self, stage: str) -> None:
        """Refuse to be fitted; read the labelled faces, so that a fault of theirs is reported before any other work."""
        super().setup(stage)
        self.known()

    @property
    def scheme(self) -> Scheme:  # type: ignore[override]
        """The scheme of the labelled faces."""
        return self.known().scheme

    @property
    def facts(self) -> dict[str, Any]:
        """What a result must record of the labelled faces, as plain values."""
        return {"labels": self._labels().describe(), "flip": self.flip}

    def known(self) -> KnownFaces:
        """Return the labelled faces; read on first use.

        Raises:
            ConfigError: no data module with labelled faces.
            DataError: no face with a visible landmark; otherwise what the reader raises.
        """
        if self._known is None:
            found = self._labels().faces()
            points, visible = (
                np.stack([getattr(face, key) for face in found.labelled]) for key in ("points", "visible")
            )
            seen = torch.from_numpy(visible)
            if not bool(seen.any()):
                raise DataError(f"{many(len(seen), 'labelled face')} without a visible landmark; expected one at least")
            images = image_tensor([face.image for face in found.labelled])
            placed = torch.where(seen[..., None], torch.from_numpy(points).float(), 0)
            faces = KnownFaces(images, placed, seen, found.scheme)
            self._known = faces.with_mirrored() if self.flip and found.scheme.flip_pairs else faces
            hidden = [
                name for name, any_ in zip(found.scheme.landmarks, self._known.visible.any(0), strict=True) if not any_
            ]
            if hidden:
                note(f"no labelled face shows {some(hidden, 9)}; found at the mean of the others, with score -1")
        return self._known

    def _labels(self) -> Any:
        data = getattr(self._trainer, "datamodule", None) if self.labels is None else self.labels
        if not callable(getattr(data, "faces", None)):
            found = "none" if data is None else type(data).__name__
            raise ConfigError(
                f"{type(self).__name__} needs a data module of few labelled faces, found {found}; set "
                "model.init_args.labels to FewLabels or WorldFewLabels, or test with one as data"
            )
        return data

    def completed(self, found: Detections, images: Tensor) -> Detections:
        """Return detections with the landmarks that no labelled face shows at the mean of the others, and score -1."""
        known = self.known()
        shown = known.visible.any(dim=0).to(found.points.device)
        mean = known.mean_points(images.shape[-1], images.shape[-2]).to(found.points.device)
        points = torch.where(shown[:, None], found.points, mean)
        return Detections(points, torch.where(shown, found.scores, -1))
