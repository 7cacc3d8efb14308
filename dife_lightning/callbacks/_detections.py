"""Collects what a landmark model finds on sets of single faces, over all processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.data.face_sets import FaceSet, face_set_of
from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.faces.batches import FaceBatch
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import Scheme, convert, get_scheme
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.metrics.landmark_error import FaceErrors, FaceRecords, LandmarkErrorMetric
from dife_lightning.metrics.nme_rules import Normalizer
from dife_lightning.utils.distributed import gather_objects
from dife_lightning.viz.detections import DetectionExample


@dataclass(frozen=True)
class FoundFaces:
    """What all processes found on a set: one row per face, in order of ``records.index``.

    ``errors`` are by the rule of the evaluation; ``scores`` (N, K) float32; ``names`` and ``crops`` of the N faces.
    """

    faces: FaceSet
    records: FaceRecords
    errors: FaceErrors
    scores: NDArray[np.float32]
    names: list[str]
    crops: list[PictureCrop]

    @property
    def subjects(self) -> list[str]:
        """The animal or person on each face, with its domain; empty where it is not known."""
        known = self.faces.subjects or [""] * len(self.faces)
        return [f"{self.faces.domain}/{known[i]}" if known[i] else "" for i in self.records.index.tolist()]


class FaceCollector:
    """Collects the landmarks found on one set, and the first faces for a picture.

    Args:
        faces: the set.
        normalizer: of the errors.
        published: whether the rule of the published evaluation is used.
        pictures: how many faces to keep for drawing.
        device: where the points are.
    """

    def __init__(
        self, faces: FaceSet, normalizer: Normalizer | None, published: bool, pictures: int, device: torch.device
    ) -> None:
        self.faces, self._pictures = faces, pictures
        self.metric = LandmarkErrorMetric(faces.scheme, normalizer, published, name=faces.name).to(device)
        self._seen: dict[int, tuple[str, PictureCrop, NDArray[np.float32]]] = {}
        self._kept: list[int] = []

    def add(self, batch: FaceBatch, found: Detections) -> None:
        """Add a batch and what was found on it."""
        self.metric.update(batch.index, found.points, batch.points, batch.visible, batch.boxes)
        numbers, scores = batch.index.tolist(), found.scores.detach().float().cpu().numpy()
        self._seen.update(zip(numbers, zip(batch.names, batch.crops, scores, strict=True), strict=True))
        self._kept += numbers[: max(0, self._pictures - len(self._kept))]

    def gather(self) -> FoundFaces:
        """Return what all processes found, on the CPU; every process must call it."""
        records = self.metric.gather()
        seen = {number: face for part in gather_objects(self._seen) for number, face in part.items()}
        names, crops, scores = zip(*(seen[number] for number in records.index.tolist()), strict=True)
        errors = self.metric.errors(records)
        return FoundFaces(self.faces, records, errors, np.stack(scores), list(names), list(crops))

    def examples(self, found: FoundFaces) -> list[DetectionExample]:
        """Return the kept faces for a picture."""
        row = {number: k for k, number in enumerate(found.records.index.tolist())}
        return [self._example(number, found, row[number]) for number in self._kept]

    def _example(self, number: int, found: FoundFaces, row: int) -> DetectionExample:
        records, errors, face = found.records, found.errors, self.faces[number]
        nme = float(errors.nme[row]) if errors.scored[row] else float("nan")
        points = records.truth[row].float().numpy(), records.predicted[row].float().numpy()
        return DetectionExample(face.image, *points, records.visible[row].numpy(), nme)


def face_collectors(
    loaders: Any, normalizer: Normalizer | None, published: bool, pictures: int, device: torch.device
) -> list[FaceCollector]:
    """Return an empty collector for each of a trainer's loaders; ConfigError if their landmarks differ."""
    several = loaders if isinstance(loaders, list | tuple) else [loaders]
    sets = [face_set_of(loader) for loader in several]
    for faces in sets[1:]:
        if faces.scheme.landmarks != sets[0].scheme.landmarks:
            raise ConfigError(
                f"'{sets[0].name}' and '{faces.name}' have other landmarks; give all sets those of one scheme"
            )
    return [FaceCollector(faces, normalizer, published, pictures, device) for faces in sets]


def detected(trainer: L.Trainer, pl_module: L.LightningModule, batch: FaceBatch, scheme: Scheme) -> Detections:
    """Return what a landmark model finds, in the trainer's precision, in the order of ``scheme``.

    Raises:
        ConfigError: the method finds no landmarks, or not those of the faces.
        TrainingError: a point is not finite.
    """
    detect_batch = getattr(pl_module, "detect_batch", None)
    name = type(pl_module).__name__
    if detect_batch is None:
        raise ConfigError(f"{name} finds no landmarks on single faces, so their error cannot be measured")
    with trainer.precision_plugin.forward_context():
        found = detect_batch(batch)
    return in_scheme(found, pl_module, scheme)


def in_scheme(found: object, pl_module: L.LightningModule, scheme: Scheme) -> Detections:
    """Return what ``detect_batch`` found in the order of ``scheme``; raises what :func:`detected` does."""
    own, name = get_scheme(getattr(pl_module, "scheme", scheme)), type(pl_module).__name__
    if not isinstance(found, Detections) or found.points.shape[1:] != (len(own.landmarks), 2):
        said = tuple(found.points.shape) if isinstance(found, Detections) else type(found).__name__
        raise ConfigError(f"detect of {name} returned {said}: expected Detections of (B, {len(own.landmarks)}, 2)")
    if not bool(found.points.isfinite().all()):
        raise TrainingError(f"{name} found points that are not finite; use an earlier checkpoint or a lower rate")
    weights = model_weights(own, scheme, name)
    if weights is None:
        return found
    weights = weights.to(found.points.device)
    return Detections(weights @ found.points.float(), found.scores.float() @ weights.T)


def model_weights(own: Scheme, scheme: Scheme, name: str) -> Tensor | None:
    """Return (L, K) weights that make the K points of a model's scheme ``own`` the L of ``scheme``; None for the same.

    Points of the same name (or alias) are the same, and some are the mean of others, such as eyes of their corners.
    ConfigError if the model, called ``name``, lacks one.
    """
    if (own.landmarks, own.eye_convention) == (scheme.landmarks, scheme.eye_convention):
        return None
    count = len(own.landmarks)
    each = np.repeat(np.eye(count, dtype=np.float32)[..., None], 2, axis=-1)  # (K, K, 2): each point alone
    points, known = convert(each, np.ones((count, count), bool), own, scheme)
    if not known[0].all():
        lacking = scheme.landmarks[int(np.argmin(known[0]))]
        raise ConfigError(
            f"{name} finds the points of '{own.name}', without {lacking}; evaluate it on landmarks it has"
        )
    return torch.from_numpy(points[..., 0].T.copy())
