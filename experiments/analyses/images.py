"""The pictures of tested pairs: rendered again from the names of the world's faces, or read from a benchmark's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.data.world.pairs import framing_seeds
from dife_lightning.errors import DataError
from dife_lightning.faces.batches import PairArrays
from dife_lightning.faces.schemes import LAYOUT
from dife_lightning.world import WorldFaces
from dife_lightning.world.parameters import parse_name
from experiments.analyses.sets import AnalysisSet

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule

#: Largest difference between true points read from a file and rendered again (rounding), in pixels.
_SAME = 0.01


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
        pair_id = self.set.pair_ids[number]
        found = self._from_data(pair_id) if self._given else self._from_world(pair_id)
        part, seen = LAYOUT[self.set.protocol], self.set.first.visible[number]
        gaps = np.abs(found.target_points[part] - self.set.first.truth[number])[seen]
        if gaps.size and gaps.max() > _SAME:
            raise DataError(
                f"{self.set.pair}: the pictures rendered again are not those of the test; give its --test_seed"
            )
        return found

    def _from_data(self, pair_id: str) -> PairArrays:
        if pair_id not in self._given:
            raise DataError(f"{self.set.pair}: no pair {pair_id} in the data: give the --benchmark that was tested")
        pairs, index = self._given[pair_id]
        return pairs[index]

    def _from_world(self, pair_id: str) -> PairArrays:
        names = [parsed for name in pair_id.split(">") if (parsed := parse_name(name)) is not None]
        if len(names) != 2:
            raise DataError(f"{self.set.pair}: photographs need --benchmark, for example --benchmark mafl_ap10k")
        if self.set.image_size is None:
            raise DataError(
                f"{self.set.pair}: no metrics.json beside the predictions: the size of the pictures is not known"
            )
        faces = [
            WorldFaces(species, split, index + 1, self.set.framing, self.set.image_size, seed)  # type: ignore[arg-type]
            for (species, split, index), seed in zip(names, self.seeds, strict=True)
        ]
        fields: dict[str, Any] = {"pair": self.set.pair, "list_name": self.set.list_name, "framing": self.set.framing}
        indices = [(faces[0].count - 1, faces[1].count - 1)]
        return KeypointPairs(faces[0], faces[1], indices, size=self.set.image_size, **fields)[0]
