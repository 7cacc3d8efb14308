"""Pictures of the pairs with the largest errors of a method, and of the median ones."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import LAYOUT, get_protocol
from dife_lightning.metrics.predictions import PointTable
from dife_lightning.viz.transfer import TransferExample, transfer_sheet
from experiments.analyses.images import PairImages
from experiments.analyses.numbers import Row
from experiments.analyses.sets import AnalysisSet

#: Pairs in a row of a sheet.
COLUMNS = 3
#: Letters of a face's name above its picture.
_LONGEST = 16


def ranked(table: PointTable) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs from worst to best, and the mean error (N,) of each.

    Only pairs with at least half of the landmarks visible are ranked, because a single point can have a large error.

    Raises:
        DataError: no such pair.
    """
    counts = table.visible.sum(1)
    errors = np.where(table.visible, table.errors, 0.0).sum(1) / np.maximum(counts, 1)
    enough = np.flatnonzero(2 * counts >= len(table.landmarks))
    if not enough.size:
        raise DataError("no pair has half of its landmarks visible: there is nothing to draw")
    return enough[np.argsort(-errors[enough], kind="stable")], errors


def chosen(table: PointTable, worst: int, median: int) -> tuple[list[int], list[int]]:
    """Return the ``worst`` pairs, the worst first, and ``median`` pairs around the middle of the order.

    Raises:
        ConfigError: a number below 1.
    """
    if worst < 1 or median < 1:
        raise ConfigError(f"{worst} worst and {median} median pairs: expected one of each or more")
    order, _ = ranked(table)
    start = max(0, (len(order) - median) // 2)
    return order[:worst].tolist(), order[start : start + median].tolist()


def failure_rows(one: AnalysisSet, method: str, worst: int, median: int) -> list[Row]:
    """Return the pairs that are drawn for a method's first seed, with their kind (worst or median) and mean error."""
    table = one.tables[method][0]
    _, errors = ranked(table)
    start = {"method": method, "pair": one.pair}
    return [
        {**start, "kind": kind, "pair_id": table.pair_ids[i], "pixel_error": float(errors[i])}
        for kind, numbers in zip(("worst", "median"), chosen(table, worst, median), strict=True)
        for i in numbers
    ]


def failure_sheet(one: AnalysisSet, method: str, images: PairImages, worst: int, median: int) -> Figure:
    """Draw the worst pairs of a method's first seed, then the median ones."""
    table = one.tables[method][0]
    _, errors = ranked(table)
    groups = chosen(table, worst, median)
    examples: list[TransferExample | None] = []
    labels: list[str] = []
    for kind, numbers in zip(("worst", "median"), groups, strict=True):
        examples += [transfer_example(table, i, images, float(errors[i])) for i in numbers]
        examples += [None] * (-len(examples) % COLUMNS)
        labels += [kind] * (len(examples) // COLUMNS - len(labels))
    return transfer_sheet(
        examples,
        get_protocol(one.protocol).landmarks,
        columns=COLUMNS,
        heading=f"{method}: {' to '.join(one.pair.split('+'))}, worst and median pairs",
        note=f"of {len(table.pair_ids)} pairs of list '{one.list_name}', {one.framing}; numbers of the two faces, and "
        "the mean error in px of a 70-px crop",
        rows=labels,
    )


def transfer_example(table: PointTable, number: int, images: PairImages, error: float) -> TransferExample:
    """Return a pair's pictures with its points and their predictions."""
    pair, part = images[number], LAYOUT[images.set.protocol]
    return TransferExample(
        source_image=pair.source_image,
        target_image=pair.target_image,
        source_points=pair.source_points[part],
        target_points=table.truth[number].astype(np.float32),
        predicted=table.predicted[number].astype(np.float32),
        visible=table.visible[number],
        error=error,
        label=" → ".join(_short(name) for name in pair.pair_id.split(">")),
    )


def _short(name: str) -> str:
    """Return the last part of a face's name: the number of a render, or a file name."""
    last = name.rpartition("/")[2]
    return last if len(last) <= _LONGEST else f"…{last[1 - _LONGEST :]}"
