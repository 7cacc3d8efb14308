"""The CED curve of landmark detection, the interval of its mean error, and which species were known in training."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import Interval, Units, ratio_interval
from dife_lightning.metrics.landmark_error import CED_END


def species_groups(species: Sequence[str], labelled: Collection[str]) -> list[str]:
    """Return for each face ``known`` if its species is one of those ``labelled`` for training, else ``unknown``."""
    return ["known" if one in labelled else "unknown" for one in species]


def ced(nme: Tensor, at: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the CED curve: thresholds (T,) in percent, and the share (T,) of faces with an NME up to each.

    ``nme`` (N,) are those of scored faces; ``at`` is 0, 0.1, ..., 10 by default.
    """
    at = torch.linspace(0, CED_END, 101, dtype=torch.float64) if at is None else at.double()
    return at, (nme.double()[:, None] <= at).double().mean(dim=0)


def nme_interval(
    nme: Tensor, subjects: Sequence[str] | None = None, *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the bootstrap interval of the mean of ``nme`` (N,), in percent.

    Faces are drawn, or with ``subjects`` (N,) the animals or persons that they show: faces of one are not independent.
    A face whose subject is empty (unknown) is drawn by itself. DataError without a face.
    """
    if not len(nme):
        raise DataError("no face is scored: there is nothing to draw a confidence interval from")
    units: Units | None = None
    if subjects is not None:
        alone = [f"face {i}" for i in range(len(subjects))]
        drawn = [f"subject {one}" if one else face for one, face in zip(subjects, alone, strict=True)]
        units = np.array([drawn, alone]).T  # the second column repeats nothing, so it is not drawn
    return ratio_interval(nme.numpy(), np.ones(len(nme)), resamples=resamples, seed=seed, units=units)
