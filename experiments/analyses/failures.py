"""Pictures of the pairs with the largest errors of a method, and of the median ones.

The faces of the world are rendered again from their names; photographs are read from the data of the benchmark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.data.world.pairs import framing_seeds
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import PairArrays
from dife_lightning.faces.schemes import LAYOUT, get_protocol
from dife_lightning.metrics.predictions import PointTable
from dife_lightning.viz.transfer import TransferExample, transfer_sheet
from dife_lightning.world import WorldFaces
from dife_lightning.world.parameters import parse_name
from experiments.analyses.numbers import Row
from experiments.analyses.sets import SAME, AnalysisSet

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule

#: Pairs in a row of a sheet.
COLUMNS = 3
#: Letters of a face's name above its picture.
_LONGEST = 16


class PairImages:
    """The pictures of a set's pairs.

    Args:
        one: the set.
        test_seed: seed of the world's framing, if the test had one.
        data: the test's pairs, set up, if they are not of the world.
    """

    def __init__(self, one: AnalysisSet, test_seed: int | None = None, data: PairsDataModule | None = None) -> None:
        self.set, self.seeds = one, framing_seeds(test_seed)
        sets = [] if data is None else [p for p in data.test_sets if (p.pair, p.framing) == (one.pair, one.framing)]
        self._given = {pairs[i].pair_id: (pairs, i) for pairs in sets for i in range(len(pairs))}

    def __getitem__(self, number: int) -> PairArrays:
        """Return the pair with this number in the set.

        Raises:
            DataError: its pictures cannot be found, or differ from those of the test.
        """
        one, pair_id = self.set, self.set.pair_ids[number]
        if not self._given:
            found = self._rendered(pair_id)
        elif pair_id in self._given:
            pairs, index = self._given[pair_id]
            found = pairs[index]
        else:
            raise DataError(f"{one.pair}: no pair {pair_id} in the data: add the --benchmark that was tested")
        gaps = np.abs(found.target_points[LAYOUT[one.protocol]] - one.first.truth[number])[one.first.visible[number]]
        if gaps.size and gaps.max() > SAME:
            raise DataError(f"{one.pair}: the rendered pictures differ from those of the test; add its --test_seed")
        return found

    def _rendered(self, pair_id: str) -> PairArrays:
        one, size = self.set, self.set.image_size
        names = [parsed for name in pair_id.split(">") if (parsed := parse_name(name)) is not None]
        if len(names) != 2:
            raise DataError(f"{one.pair}: photographs need --benchmark, for example --benchmark mafl_ap10k")
        if size is None:
            raise DataError(f"{one.pair}: no metrics.json beside the predictions: the picture size is unknown")
        source, target = (
            WorldFaces(species, split, index + 1, one.framing, size, seed)  # type: ignore[arg-type]
            for (species, split, index), seed in zip(names, self.seeds, strict=True)
        )
        fields: dict[str, Any] = {"pair": one.pair, "list_name": one.list_name, "framing": one.framing}
        return KeypointPairs(source, target, [(source.count - 1, target.count - 1)], size=size, **fields)[0]


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
    examples: list[TransferExample | None] = []
    labels: list[str] = []
    for kind, numbers in zip(("worst", "median"), chosen(table, worst, median), strict=True):
        examples += [transfer_example(table, i, images) for i in numbers]
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


def transfer_example(table: PointTable, number: int, images: PairImages) -> TransferExample:
    """Return a pair's pictures with its points, their predictions and the mean error."""
    pair = images[number]
    return TransferExample(
        source_image=pair.source_image,
        target_image=pair.target_image,
        source_points=pair.source_points[LAYOUT[images.set.protocol]],
        target_points=table.truth[number].astype(np.float32),
        predicted=table.predicted[number].astype(np.float32),
        visible=table.visible[number],
        error=float(ranked(table)[1][number]),
        label=" → ".join(_short(name) for name in pair.pair_id.split(">")),
    )


def _short(name: str) -> str:
    """Return the last part of a face's name: the number of a render, or a file name."""
    last = name.rpartition("/")[2]
    return last if len(last) <= _LONGEST else f"…{last[1 - _LONGEST :]}"
