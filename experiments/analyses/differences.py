"""Errors against the differences of a pair's two faces in yaw, rotation in the picture, and shape.

The name of a face of the world gives its pose and shape. Those of photographs are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.data.world.pairs import framing_seeds
from dife_lightning.errors import ConfigError
from dife_lightning.metrics.association import normalized_distance, quantile_bins, spearman_interval
from dife_lightning.world import framing_for
from dife_lightning.world.parameters import FaceParameters, face_parameters, parse_name
from experiments.analyses.numbers import Row, column_rows, over_seeds
from experiments.analyses.sets import AnalysisSet

Array = NDArray[np.float64]


class Variable(NamedTuple):
    """How a difference of two faces is shown: label of the axis, heading, and decimals."""

    axis: str
    heading: str
    digits: int


VARIABLES = {
    "yaw": Variable("difference of yaw, degrees", "the heads look in different directions", 0),
    "turn": Variable(
        "difference of rotation in the picture, degrees", "the heads are rotated differently in the picture", 0
    ),
    "shape": Variable("distance of the shapes, standard deviations", "the heads have different shapes", 2),
}


def differences(pair_ids: Sequence[str], framing: str, test_seed: int | None = None) -> dict[str, Array] | None:
    """Return variable -> difference (N,) of each pair's faces; None if one is not a face of the world.

    * ``yaw``: degrees between the directions in which the heads look, left or right;
    * ``turn``: degrees by which the heads are turned in the picture, roll and framing together;
    * ``shape``: distance of the shape parameters, each in its standard deviation over the faces of these pairs.

    Args:
        pair_ids: ``source>target``.
        framing: ``plain`` or ``jittered``.
        test_seed: seed of the framing.

    Raises:
        ConfigError: another framing, or a species that the world does not have.
    """
    poses, turns, shapes = [], [], []
    for side, seed in enumerate(framing_seeds(test_seed)):
        names = [pair_id.split(">")[side] for pair_id in pair_ids]
        parsed = [face for name in names if (face := parse_name(name)) is not None]
        if len(parsed) < len(names):
            return None
        faces = [_parameters(*face) for face in parsed]
        poses.append(np.stack([face.pose for face in faces]))
        shapes.append(np.stack([face.shape for face in faces]))
        framed = [framing_for(framing, seed, index).rotation_deg for _, _, index in parsed]  # type: ignore[arg-type]
        turns.append(poses[-1][:, 2] + np.array(framed))
    return {
        "yaw": np.abs(poses[0][:, 0] - poses[1][:, 0]),
        "turn": np.abs(turns[0] - turns[1]),
        "shape": normalized_distance(*shapes),
    }


@lru_cache(maxsize=20_000)
def _parameters(species: str, split: Any, index: int) -> FaceParameters:
    return face_parameters(species, split, index)


def difference_rows(
    one: AnalysisSet, values: dict[str, Array], resamples: int, bins: int
) -> tuple[list[Row], list[Row]]:
    """Return method x variable x bin -> error, and method x variable -> rank correlation with a pair's mean error.

    Args:
        one: the set.
        values: variable -> (N,), in the order of the set's pairs.
        resamples: bootstrap draws behind each interval.
        bins: number of bins of about equally many pairs, the same for all methods.

    Raises:
        ConfigError: no bin.
    """
    if bins < 1:
        raise ConfigError(f"{bins} bins: expected one or more")
    binned, correlations = [], []
    for method, tables in one.tables.items():
        errors, counted = over_seeds(tables)
        sums, counts = errors.sum(1), counted.sum(1).astype(np.float64)
        seen = counts > 0
        for variable, value in values.items():
            start = {"method": method, "pair": one.pair, "variable": variable}
            binned += _binned(start, sums, counts, value, bins, resamples)
            found, ci95 = spearman_interval(value[seen], sums[seen] / counts[seen], resamples=resamples)
            correlations.append({**start, "spearman": found, "ci95": list(ci95), "pairs": int(seen.sum())})
    return binned, correlations


def _binned(start: Row, sums: Array, counts: Array, value: Array, bins: int, resamples: int) -> list[Row]:
    """Return a row for each bin of ``value``, with its ends, mean and pairs, and the mean error of its points."""
    edges, index = quantile_bins(value, bins)
    inside = index[:, None] == np.arange(len(edges) - 1)
    columns = []
    for b, chosen in enumerate(inside.T):
        middle = float(value[chosen].mean()) if chosen.any() else None
        ends = {"low": float(edges[b]), "high": float(edges[b + 1])}
        columns.append({**start, "bin": b, **ends, "mean": middle, "pairs": int(chosen.sum())})
    return column_rows(columns, sums[:, None] * inside, counts[:, None] * inside, resamples, "pixel_error")
