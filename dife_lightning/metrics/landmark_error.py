"""Metrics of landmark detection: normalised mean error (NME), failure rate, CED curve and the area under it.

The error of a point is its distance to the truth in **percent** of a length of its face (see ``nme_rules.py``). The NME
of a face is the mean over its counted points, and the NME of a set is the mean over its faces, each face alike. The
cumulative error distribution (CED) at t is the share of faces whose NME is at most t percent; the failure rate at t is
the rest. The AUC is the mean of the CED from 0 to 10 percent: 1 for perfect points, 0 if all faces are at 10 or above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import Scheme, get_scheme
from dife_lightning.metrics._float64 import Float64Metric, in_float64
from dife_lightning.metrics.keypoint_transfer import joined_state
from dife_lightning.metrics.nme_rules import NmeRule, Normalizer, counted_points, face_lengths, nme_rule

#: NME in percent above which a face is a failure, by the key under which the rate is reported.
FAILURE_THRESHOLDS = {"failure_08": 8.0, "failure_10": 10.0}
#: End of the CED curve in percent, for the area under it.
CED_END = 10.0


class FaceErrors(NamedTuple):
    """Errors of N faces with K landmarks.

    ``points`` (N, K) float64 in percent of the face's length, 0 where not ``counted`` (N, K); ``nme`` (N,) percent;
    ``scored`` (N,) bool: which faces have an NME; ``sized`` (N,) bool: which have a length to divide by.
    """

    points: Tensor
    counted: Tensor
    nme: Tensor
    scored: Tensor
    sized: Tensor

    def take(self, rows: Tensor) -> FaceErrors:
        """Return the faces of these rows, numbers or bool (N,)."""
        return FaceErrors(*(values[rows] for values in self))


@dataclass(frozen=True)
class LandmarkScores:
    """Results over a set of faces.

    Attributes:
        nme: percent; NaN without a scored face, as all values but the counts.
        faces: number of scored faces.
        without_length: faces that are left out because their length is unknown (no box, or not both eyes visible).
        without_points: faces that are left out because none of their points counts.
        failure: share of faces, 0 to 1, with an NME above each of ``FAILURE_THRESHOLDS``.
        auc_10: mean of the CED curve from 0 to 10 percent, 0 to 1.
        per_landmark: mean error of each landmark over the faces where it counts, percent; NaN where it never does.
    """

    nme: float
    faces: int
    without_length: int
    without_points: int
    failure: dict[str, float]
    auc_10: float
    per_landmark: dict[str, float]


@dataclass(frozen=True)
class FaceRecords:
    """One row per face, in order of ``index`` and each face once: points (N, K, 2) and ``boxes`` (N, 4) in pixels.

    All but ``index`` (N,) and ``visible`` (N, K) are float64. Boxes are NaN where a face has none.
    """

    index: Tensor
    predicted: Tensor
    truth: Tensor
    visible: Tensor
    boxes: Tensor


_STATES = tuple(field.name for field in fields(FaceRecords))


def landmark_errors(
    predicted: Tensor, truth: Tensor, visible: Tensor, boxes: Tensor | None, rule: NmeRule
) -> FaceErrors:
    """Measure each face.

    Args:
        predicted: (B, K, 2), x then y, pixels of any image.
        truth: (B, K, 2), pixels of the same image.
        visible: (B, K) bool; by the default rule, points that are not visible (also NaN) are ignored.
        boxes: (B, 4) x0, y0, x1, y1 in the same pixels, or None; see :func:`face_lengths`.
        rule: of the NME.
    """
    length = face_lengths(truth, visible, boxes, rule)
    counted, sized = counted_points(truth, visible, rule), length > 0
    distance = (predicted.double() - truth.double()).norm(dim=-1)
    if rule.zeros_are_right:
        distance = distance.where((predicted != 0).all(dim=-1), 0.0)
    counted = counted & sized[:, None]
    points = (100 * distance / length.where(sized, 1.0)[:, None]).where(counted, 0.0)
    number = counted.sum(dim=1)
    scored = sized if rule.counted == "positive" else sized & (number > 0)
    return FaceErrors(points, counted, points.sum(dim=1) / number.clamp(min=1), scored, sized)


def _landmark_error_compute(errors: FaceErrors, landmarks: Sequence[str]) -> LandmarkScores:
    """Compute the scores of some faces; values are NaN if none is scored."""
    nme, number = errors.nme[errors.scored], errors.counted.sum(dim=0)
    above = {key: float((nme > at).double().mean()) for key, at in FAILURE_THRESHOLDS.items()}
    per_landmark = (errors.points.sum(dim=0) / number).tolist()  # 0 / 0 is NaN
    return LandmarkScores(
        nme=float(nme.mean()),
        faces=len(nme),
        without_length=int((~errors.sized).sum()),
        without_points=int((errors.sized & ~errors.scored).sum()),
        failure=above,
        auc_10=float(((CED_END - nme) / CED_END).clamp(min=0).mean()),
        per_landmark=dict(zip(landmarks, per_landmark, strict=True)),
    )


def landmark_error_scores(errors: FaceErrors, landmarks: Sequence[str], name: str = "faces") -> LandmarkScores:
    """Score N faces; DataError if none can be scored."""
    scores = _landmark_error_compute(errors, landmarks)
    if not scores.faces:
        raise DataError(
            f"no face of '{name}' can be scored: {scores.without_length} without box or both eyes, "
            f"{scores.without_points} without a visible point; check the faces, or choose another normalizer"
        )
    return scores


def scores_by_label(errors: FaceErrors, labels: Sequence[str], landmarks: Sequence[str]) -> dict[str, LandmarkScores]:
    """Return the scores of the faces of each label (species, group, ...), by label in alphabetical order.

    ``labels`` (N,) has one for each face. A label without a scored face has NaN and its counts.
    """
    if len(labels) != len(errors.nme):
        raise DataError(f"{len(labels)} labels of {len(errors.nme)} faces; expected one for each")
    known = np.asarray(labels, dtype=str)
    rows = {label: torch.from_numpy(known == label) for label in sorted(set(labels))}
    return {label: _landmark_error_compute(errors.take(there), landmarks) for label, there in rows.items()}


class LandmarkErrorMetric(Float64Metric):
    """Landmark detection over a set of faces.

    The state is the points of each face with the face's number. It is exact with several processes (faces that a
    distributed sampler repeats are dropped) and does not depend on the order of batches.

    Args:
        scheme: of the points.
        normalizer: what errors are divided by; ``box`` if it is None. See :func:`nme_rule`.
        published: use the rule of the published evaluation of the scheme.
        labels: further sets to report: ``{"domain": [...], "group": [...]}``, one label for each face by its number.
        name: name of the set, for error messages.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(
        self,
        scheme: str | Scheme,
        normalizer: Normalizer | None = None,
        published: bool = False,
        labels: Mapping[str, Sequence[str]] | None = None,
        name: str = "faces",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rule, self.landmarks = nme_rule(scheme, normalizer, published=published), get_scheme(scheme).landmarks
        self.labels, self.set_name = dict(labels or {}), name
        for state in _STATES:
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self, index: Tensor, predicted: Tensor, truth: Tensor, visible: Tensor, boxes: Tensor | None = None
    ) -> None:
        """Add a batch: numbers (B,), points (B, K, 2), visible (B, K), and boxes (B, 4) if the rule needs them."""
        boxes = truth.new_full((len(truth), 4), torch.nan) if boxes is None else boxes
        seen = visible.to(torch.uint8)  # not every backend gathers bool
        points = in_float64(predicted), in_float64(truth)
        home = points[0].device
        values = (index.to(home), *points, seen.to(home), in_float64(boxes))
        for state, value in zip(_STATES, values, strict=True):
            getattr(self, state).append(value)

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"nme": ..., "landmark/nose": ..., "group/known/nme": ..., ...}`` as float64 scalars on the CPU."""
        records = self.records()
        errors = self.errors(records)
        flat = flatten(landmark_error_scores(errors, self.landmarks, self.set_name))
        for kind, labels in self.labels.items():
            of_each = self._labels_of(records, kind, labels)
            for label, scores in scores_by_label(errors, of_each, self.landmarks).items():
                flat |= {f"{kind}/{label}/{key}": value for key, value in flatten(scores).items()}
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in flat.items()}

    def gather(self) -> FaceRecords:
        """Return the records of all processes, on the CPU; every process must call it."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return self.records()

    def records(self) -> FaceRecords:
        """Return the records held now, on the CPU; DataError if there are none."""
        states = [joined_state(getattr(self, state)).cpu() for state in _STATES]
        if states[0].numel() == 0:
            raise DataError(f"no face was evaluated in '{self.set_name}': check the faces and limit_*_batches")
        order = torch.from_numpy(np.unique(states[0].numpy(), return_index=True)[1])
        index, predicted, truth, visible, boxes = (state[order] for state in states)
        return FaceRecords(index, predicted, truth, visible.bool(), boxes)

    def errors(self, records: FaceRecords) -> FaceErrors:
        """Return the errors of the records by the rule of this metric."""
        boxes = None if records.boxes.isnan().all() else records.boxes
        return landmark_errors(records.predicted, records.truth, records.visible, boxes, self.rule)

    def _labels_of(self, records: FaceRecords, kind: str, labels: Sequence[str]) -> list[str]:
        if (last := int(records.index[-1])) >= len(labels):
            raise DataError(f"{len(labels)} labels of '{kind}', but a face has number {last}; give one for each face")
        return [labels[i] for i in records.index.tolist()]


def flatten(scores: LandmarkScores) -> dict[str, float]:
    """Return the scores by the key under which they are logged."""
    counts = {key: getattr(scores, key) for key in ("faces", "without_length", "without_points")}
    landmarks = {f"landmark/{name}": value for name, value in scores.per_landmark.items()}
    return {"nme": scores.nme, **scores.failure, "auc_10": scores.auc_10, **counts, **landmarks}
