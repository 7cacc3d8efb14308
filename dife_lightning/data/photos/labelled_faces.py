"""Annotated photographs with their landmarks, for supervised methods that train on key points, such as CATs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.photos.cropped_faces import CroppedFaces
from dife_lightning.data.photos.face_domains import DomainFaces, FaceDomain, to_domain
from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import ConfigError, DataError, did_you_mean, printable
from dife_lightning.faces.batches import LandmarkBatch, image_tensor
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, sampling_grid, warp
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many
from dife_lightning.utils.randomness import uniform


class LabelledImages(NamedTuple):
    """The faces of a domain: images (N, S, S, 3) uint8, points (N, K, 2) in pixels, visible (N, K)."""

    images: Tensor
    points: Tensor
    visible: Tensor


class LandmarkStream(EndlessBatches[LandmarkBatch]):
    """Endless batches of warped faces, each a pure function of (seed, number).

    Args:
        faces: domain -> its faces, of which a batch has ``per_domain`` each; all with as many points.
        per_domain: faces of each domain.
        augment: framing and colour.
        seed: of the faces and the augmentation.
        start: first batch, rank and number of processes.
    """

    def __init__(
        self,
        faces: Mapping[str, LabelledImages],
        per_domain: int,
        augment: AugmentOptions,
        seed: int = 0,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.faces, self.per_domain, self.augment, self.seed = dict(faces), per_domain, augment, seed

    def batch(self, number: int) -> LandmarkBatch:
        """Return batch ``number`` of this rank: ``per_domain`` faces of the first domain, then of the next."""
        positions = self.positions(number, self.per_domain)
        parts = [self._warped(name, positions) for name in self.faces]
        images, points, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        domain = torch.arange(len(parts)).repeat_interleave(self.per_domain)
        index = torch.tensor(positions).repeat(len(parts))
        return LandmarkBatch(images, points, visible, domain, index, tuple(self.faces))

    def _warped(self, name: str, positions: range) -> tuple[Tensor, Tensor, Tensor]:
        """Images, points and visible of one domain."""
        count, faces = 1 + AFFINE_NUMBERS + COLOR_NUMBERS, self.faces[name]
        numbers = torch.stack([uniform((count,), self.seed, "labelled", name, i) for i in positions])
        chosen, framing, color = numbers.split((1, AFFINE_NUMBERS, COLOR_NUMBERS), dim=1)
        rows = (chosen[:, 0] * len(faces.images)).long()
        images, side = image_tensor(faces.images[rows].numpy()), faces.images.shape[1]
        affine = draw_affine(framing, self.augment, side, side)
        warped = warp(images, sampling_grid(affine, side, side, side, side), self.augment.padding)
        points = apply_affine(affine, faces.points[rows])
        visible = faces.visible[rows] & ((points >= -0.5) & (points <= side - 0.5)).all(-1)
        return color_jitter(warped, color, self.augment), points, visible


class LabelledFaces(TrainingDataModule):
    """Annotated photographs of several domains with all their landmarks, cropped as the evaluation crops them.

    A face is used if it shows all points of ``protocol``, which also places its crop. Landmarks have the order of each
    domain's own scheme, so they can be compared within a domain alone.

    Args:
        domains: name -> data set, folder and options of its reader.
        use: those of the domains to train on; None for all.
        count: most faces of each domain, the first in the drawing order of ``seed``; None for all.
        protocol: landmarks that every face must show.
        crop: crop options; a domain may have its own.
        size: side of the images.
        batch_size: images per step over all domains; each gets ``batch_size // domains``.
        augment: framing and colour; the defaults have the ranges of the evaluation's framing.
        seed: of the faces and the batches.
        num_workers: processes that make batches; any number gives the same ones.
        skip_broken: skip faces that cannot be used. ``--skip-broken`` sets it.
        evaluation: data module of keypoint pairs for validation, test and predict; None for none.

    Raises:
        ConfigError: no domain or an unknown one, a batch smaller than their number, or a number out of its range.
    """

    def __init__(
        self,
        domains: dict[str, FaceDomain],
        use: Sequence[str] | None = None,
        count: int | None = None,
        protocol: str = "3-point",
        crop: CropOptions = CropOptions(),  # noqa: B008 - frozen
        size: int = 64,
        batch_size: int = 12,
        augment: AugmentOptions = AugmentOptions(),  # noqa: B008 - frozen
        seed: int = 0,
        num_workers: int = 0,
        skip_broken: bool = False,
        evaluation: LightningDataModule | None = None,
    ) -> None:
        super().__init__(evaluation)
        names = list(domains if use is None else use)
        for name in names:
            if name not in domains:
                raise ConfigError(f"labelled faces: no domain '{name}'. {did_you_mean(name, domains)}")
        if not names or batch_size < len(names):
            text = f"batch_size={batch_size} for {len(names)} domains"
            raise ConfigError(f"labelled faces: {text}; expected one domain or more, and an image for each")
        require(at_least=1, count=1 if count is None else count)
        require(at_least=8, size=size)
        known = {name: to_domain(name, domains[name]) for name in names}
        self.domains = DomainFaces(known, protocol, crop, seed, "viewer", skip_broken=skip_broken)
        self.count, self.size, self.per_domain = count, size, batch_size // len(names)
        self.augment, self.seed, self.num_workers = augment, seed, num_workers
        self.faces: dict[str, LabelledImages] = {}

    def setup(self, stage: str) -> None:
        """Crop the faces (for fit), and set up the evaluation pairs; DataError for a domain without a usable face."""
        if stage == "fit" and not self.faces:
            found = {name: self._faces(name) for name in self.domains.domains}
            most = max(faces.points.shape[1] for faces in found.values())
            self.faces = {name: _padded(faces, most) for name, faces in found.items()}
        super().setup(stage)

    def _faces(self, name: str) -> LabelledImages:
        usable = self.domains.usable(name, "test")
        chosen = usable.order[: self.count]
        if not chosen:
            raise DataError(f"domain '{name}': no face can be used for training: {usable.summary()}")
        crops = CroppedFaces(usable.faces, self.size, self.domains.crop(name), self.domains.landmarks(name))
        items = [crops[index] for index in chosen]
        parts = ([item[key] for item in items] for key in ("image", "points", "visible"))
        images, points, visible = (torch.from_numpy(np.stack(part)) for part in parts)
        told = f"{many(int(visible.sum()), 'landmark')} of {many(len(items), 'face')}"
        rank_zero_info(printable(f"labelled photos of {name}: {told}"))
        return LabelledImages(images, points.float(), visible)

    def train_dataloader(self) -> DataLoader[LandmarkBatch]:
        """Return the stream from the trainer's current batch on."""
        stream = LandmarkStream(self.faces, self.per_domain, self.augment, self.seed, self.stream_start())
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)


def _padded(faces: LabelledImages, count: int) -> LabelledImages:
    """Return the faces with ``count`` points; those that are added are not visible."""
    more = count - faces.points.shape[1]
    points = torch.nn.functional.pad(faces.points.where(faces.visible[..., None], 0), (0, 0, 0, more))
    return LabelledImages(faces.images, points, torch.nn.functional.pad(faces.visible, (0, more)))
