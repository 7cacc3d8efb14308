"""Metrics of landmark transfer: pixel error at 70 px, left/right swaps and PCK.

A pixel error is the Euclidean distance in pixels of a crop scaled to a side of 70 (DVE's unit, kept by DIFE):
``distance * 70 / side``. The mean runs over all visible points of all pairs, not pair by pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import Protocol, flip_permutation, get_protocol, layout_part

ERROR_SIDE = 70
#: PCK thresholds as parts of the image side, by the key under which they are reported (no dots: torchmetrics).
PCK_THRESHOLDS = {"pck_image_05": 0.05, "pck_image_10": 0.1}
#: Likewise, as parts of the face's extent in the target image.
FACE_THRESHOLDS = {"pck_face_05": 0.05, "pck_face_10": 0.1}


class TransferSums(NamedTuple):
    """Sums behind the scores, per landmark: float64 sums and int64 counts, all (K,); hits (T, K).

    ``face_points`` are those of targets with an extent, two visible points at different places.
    """

    error: Tensor
    points: Tensor
    hits: Tensor
    face_hits: Tensor
    face_points: Tensor
    swaps: Tensor
    swappable: Tensor


@dataclass(frozen=True)
class TransferScores:
    """Results over a set of pairs. Errors in pixels of a 70-px crop; rates between 0 and 1, NaN where undefined."""

    pixel_error: float
    points: int
    swap_rate: float
    pck: dict[str, float]
    per_landmark: dict[str, float]


@dataclass(frozen=True)
class Records:
    """One row per pair, in order of ``index`` and each pair once: points in pixels, (N, K, 2); sides in pixels.

    Scores (N, K) are NaN from a method without any.
    """

    index: Tensor
    predicted: Tensor
    truth: Tensor
    visible: Tensor
    side: Tensor
    scores: Tensor


_STATES = tuple(field.name for field in fields(Records))


def pixel_errors(predicted: Tensor, truth: Tensor, side: Tensor) -> Tensor:
    """Return (B, K) float64 errors of (B, K, 2) points in images of ``side`` (B,) pixels, scaled to 70 px."""
    distance = (predicted.double() - truth.double()).norm(dim=-1)
    return distance * ERROR_SIDE / side.double()[:, None]


def face_extent(truth: Tensor, visible: Tensor) -> Tensor:
    """Return (B,) pixels: the larger of width and height of the ``visible`` (B, K) ones of the points (B, K, 2).

    It is 0 where fewer than two are visible.
    """
    seen = visible[..., None]
    low, high = truth.double().where(seen, torch.inf).amin(1), truth.double().where(seen, -torch.inf).amax(1)
    return (high - low).amax(-1).clamp(min=0)


def _keypoint_transfer_update(
    predicted: Tensor, truth: Tensor, visible: Tensor, side: Tensor, protocol: Protocol
) -> TransferSums:
    """Add up errors, PCK hits and swaps.

    Args:
        predicted: (B, K, 2) pixels of the target image.
        truth: (B, K, 2).
        visible: (B, K) bool; points that are not visible (also NaN) are ignored.
        side: (B,) side of the target image in pixels.
        protocol: names and flip pairs of the K landmarks.
    """
    error = pixel_errors(predicted, truth, side).where(visible, 0.0)
    thresholds = error.new_tensor([t * ERROR_SIDE for t in PCK_THRESHOLDS.values()])
    hits = (error <= thresholds[:, None, None]) & visible
    extent = face_extent(truth, visible) * ERROR_SIDE / side.double()
    sized = visible & (extent > 0)[:, None]
    shares = error.new_tensor(list(FACE_THRESHOLDS.values()))
    face_hits = (error <= (shares[:, None] * extent)[..., None]) & sized
    order = torch.as_tensor(flip_permutation(len(protocol.landmarks), protocol.flip_pairs), device=error.device)
    paired = order != torch.arange(len(order), device=error.device)
    swappable = visible & visible[:, order] & paired
    to_partner = pixel_errors(predicted, truth[:, order], side)
    swaps = swappable & (to_partner < error)
    face = face_hits.sum(1), sized.sum(0)
    return TransferSums(error.sum(0), visible.sum(0), hits.sum(1), *face, swaps.sum(0), swappable.sum(0))


def _keypoint_transfer_compute(sums: TransferSums, protocol: Protocol, name: str = "pairs") -> TransferScores:
    """Compute the scores; DataError if no point was visible."""
    points = int(sums.points.sum())
    if points == 0:
        raise DataError(f"no visible point in '{name}' ({protocol.name}): there is nothing to score; check the pairs")
    per_landmark = (sums.error / sums.points).tolist()
    swappable = int(sums.swappable.sum())
    return TransferScores(
        pixel_error=float(sums.error.sum()) / points,
        points=points,
        swap_rate=int(sums.swaps.sum()) / swappable if swappable else float("nan"),
        pck=_shares(PCK_THRESHOLDS, sums.hits, points)
        | _shares(FACE_THRESHOLDS, sums.face_hits, int(sums.face_points.sum())),
        per_landmark=dict(zip(protocol.landmarks, per_landmark, strict=True)),
    )


def _shares(keys: Iterable[str], hits: Tensor, points: int) -> dict[str, float]:
    """Return the share of ``points`` that are hits (T, K), by key; NaN without points."""
    return {key: int(found.sum()) / points if points else float("nan") for key, found in zip(keys, hits, strict=True)}


def keypoint_transfer_scores(
    predicted: Tensor, truth: Tensor, visible: Tensor, side: Tensor, protocol: str | Protocol, name: str = "pairs"
) -> TransferScores:
    """Score (B, K, 2) predictions of ``protocol``'s K landmarks; see the private halves for shapes and errors."""
    known = get_protocol(protocol)
    sums = _keypoint_transfer_update(predicted, truth, visible, side, known)
    return _keypoint_transfer_compute(sums, known, name)


class KeypointTransferMetric(Metric):
    """Landmark transfer over a set of pairs, in the layout of all protocols (9 + 3 points).

    The state is the points of each pair with the pair's number. It is small, it is exact with several processes (pairs
    that a distributed sampler repeats are dropped), and the table of predictions is written from it.

    Args:
        protocols: protocols that ``compute`` reports.
        name: name of the set, for error messages.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(
        self, protocols: Sequence[str | Protocol] = ("9-point", "3-point"), name: str = "pairs", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.protocols, self.set_name = tuple(map(get_protocol, protocols)), name
        for state in _STATES:
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self,
        index: Tensor,
        predicted: Tensor,
        truth: Tensor,
        visible: Tensor,
        side: Tensor,
        scores: Tensor | None = None,
    ) -> None:
        """Add a batch: numbers (B,), points (B, P, 2), visible (B, P), target sides (B,) in pixels, scores (B, P)."""
        seen = visible.to(torch.uint8)  # not every backend gathers bool
        scores = torch.full_like(predicted[..., 0], torch.nan, dtype=torch.float32) if scores is None else scores
        values = (index, predicted.float(), truth.float(), seen, side.float(), scores.float())
        for state, value in zip(_STATES, values, strict=True):
            getattr(self, state).append(value)

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"9-point/pixel_error": ..., "9-point/landmark/nose": ..., ...}`` as float64 scalars on the CPU."""
        records = self.records()
        flat = {}
        for protocol in self.protocols:
            for key, value in flatten(score_records(records, protocol, self.set_name)).items():
                flat[f"{protocol.name}/{key}"] = torch.tensor(value, dtype=torch.float64)
        return flat

    def gather(self) -> Records:
        """Return the records of all processes, on the CPU; every process must call it."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return self.records()

    def records(self) -> Records:
        """Return the records held now, on the CPU (not every device has float64); DataError if there are none."""
        states = [joined_state(getattr(self, state)).cpu() for state in _STATES]
        if states[0].numel() == 0:
            raise DataError(f"no pair was evaluated in '{self.set_name}': check the pair list and limit_*_batches")
        first_of_each = np.unique(states[0].numpy(), return_index=True)[1]
        order = torch.from_numpy(first_of_each)
        index, predicted, truth, visible, side, scores = (state[order] for state in states)
        return Records(index, predicted, truth, visible.bool(), side, scores)


def joined_state(state: list[Tensor] | Tensor) -> Tensor:
    """Return a list state as one tensor, before or after the processes exchanged theirs."""
    if isinstance(state, Tensor):  # after a sync
        return state
    return torch.cat(state) if state else torch.empty(0)


def score_records(records: Records, protocol: str | Protocol, name: str = "pairs") -> TransferScores:
    """Score the part of ``records`` (in the layout of all protocols) that belongs to ``protocol``."""
    part = layout_part(protocol)
    points = (records.predicted[:, part], records.truth[:, part], records.visible[:, part])
    return keypoint_transfer_scores(*points, records.side, protocol, name)


def flatten(scores: TransferScores) -> dict[str, float]:
    """Return the scores by the key under which they are logged."""
    landmarks = {f"landmark/{name}": value for name, value in scores.per_landmark.items()}
    return {"pixel_error": scores.pixel_error, "swap_rate": scores.swap_rate, **scores.pck, **landmarks}
