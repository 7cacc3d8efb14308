"""DIFE in the service of Meta-CSKT: landmarks that the labelled faces carry to the unlabelled ones, by votes.

It is an option of this package, not of the paper: it joins both methods. The votes label the unlabelled faces for the
warm-up, and the agreement with them chooses the positives, in place of a model of human faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.methods._meta_cskt.shifts import Others, batches_of
from dife_lightning.methods.label_vote import LabelVote
from dife_lightning.mining import LabelPool, LabelSnapshot
from dife_lightning.utils.checks import require
from dife_lightning.utils.distributed import gather_objects
from dife_lightning.utils.notes import many, note


@dataclass(frozen=True)
class VoteOptions:
    """Votes of the labelled faces in the embedding of a DIFE; see ``LabelVote`` with ``votes: prototype``.

    Attributes:
        embedder: such as ``photos/dife``.
        share: share of the unlabelled faces, those with the highest scores, that are labelled during the warm-up.
        temperature: of the votes.
        window: of the votes.
    """

    embedder: str
    share: float = 0.5
    temperature: float = 0.02
    window: float = 0.25

    def __post_init__(self) -> None:
        require("votes.", at_least=0, at_most=1, share=self.share, window=self.window)
        require("votes.", above=0, temperature=self.temperature)

    def voter(self, data: Any) -> LabelVote:
        """Return the method that finds the landmarks, with the labelled faces of a data module."""
        return LabelVote(self.embedder, data, "prototype", True, self.temperature, self.window)


@torch.no_grad()
def voted_points(
    options: VoteOptions, data: Any, device: torch.device, part: tuple[int, int]
) -> tuple[Others, dict[str, float]]:
    """Return the voted points of all unlabelled faces with their scheme, and the mean score of each face.

    Each process finds those of its part (rank and number of processes); all must call it.
    """
    faces, voter = data.faces(), options.voter(data)
    points: dict[str, Tensor] = {}
    scores: dict[str, float] = {}
    for names, images, _ in batches_of(faces, device, part):
        found = voter.detect(images)
        points |= dict(zip(names, found.points.float().cpu(), strict=True))
        scores |= dict(zip(names, found.scores.mean(dim=1).tolist(), strict=True))
    every = {name: point for one in gather_objects(points) for name, point in one.items()}
    return (every, faces.scheme), {name: score for one in gather_objects(scores) for name, score in one.items()}


def voted_labels(true: LabelSnapshot, others: Others, scores: dict[str, float], share: float) -> LabelSnapshot:
    """Return the true labels, followed by the voted ones of the ``share`` of faces with the highest scores."""
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    chosen = sorted(ranked[: round(share * len(ranked))])
    if not chosen:
        return true
    pool = LabelPool(true, chosen)
    points = torch.stack([others[0][name] for name in chosen])
    if not bool(points.isfinite().all()):
        raise DataError("votes: a voted point is not finite; use another embedder")
    pool.store(chosen, points, 0)
    note(f"votes label {many(len(chosen), 'unlabelled face')} of {len(scores)} for the warm-up")
    return pool.refresh()
