"""Keypoint pairs of the embedded world, for validation, test and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dife_lightning.data.cache import prepare
from dife_lightning.data.evaluation import Split
from dife_lightning.data.pairs import (
    FramingName,
    KeypointPairs,
    PairsDataModule,
    check_names,
    check_pairs,
)

ListName = Literal["paper", "long"]


class WorldPairs(PairsDataModule):
    """Pairs of renders. Validation pairs come from the split ``val`` only, test pairs from the split ``test``.

    Args:
        pairs: kinds of pair, source species first.
        lists: test lists: ``paper`` (the paper's counts) and ``long`` (1,000 pairs, for claims).
        framings: test framings; ``jittered`` is the main one, ``plain`` is reported beside it.
        val_framings: framings of the validation pairs.
        val_count: validation pairs of each kind.
        size: image side in pixels.
        batch_size: pairs in a batch.
        num_workers: processes that render and load.
        test_seed: draws new test lists and framings; None for the fixed ones.
        count: pairs in each test list; None for the list's own number.
        cache: keep the renders in the cache folder (``DIFE_CACHE``).
    """

    def __init__(
        self,
        pairs: Sequence[str] = ("human+dog",),
        lists: Sequence[ListName] = ("paper", "long"),
        framings: Sequence[FramingName] = ("jittered", "plain"),
        val_framings: Sequence[FramingName] = ("jittered",),
        val_count: int = 200,
        size: int = 64,
        batch_size: int = 32,
        num_workers: int = 0,
        test_seed: int | None = None,
        count: int | None = None,
        cache: bool = True,
    ) -> None:
        from dife_lightning.world import list_species

        super().__init__(batch_size, num_workers, cache)
        check_pairs(pairs, list_species(), val_count, size, count)
        check_names("lists", lists, ("paper", "long"))
        check_names("framings", framings, ("jittered", "plain"))
        check_names("val_framings", val_framings, ("jittered", "plain"))
        self.pairs, self.lists, self.framings = list(pairs), list(lists), list(framings)
        self.val_framings, self.val_count, self.size = list(val_framings), val_count, size
        self.test_seed, self.count = test_seed, count

    def _make_sets(self, split: Split) -> list[KeypointPairs]:
        framings = self.val_framings if split == "val" else self.framings
        lists = self._pair_lists(split).items()
        return [self._prepared(split, *names, found, framing) for names, found in lists for framing in framings]

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of every validation and test list, by ``pair/list``."""
        splits: tuple[Split, ...] = ("val", "test")
        return {
            s: {f"{pair}/{name}": found.hash for (pair, name), found in self._pair_lists(s).items()} for s in splits
        }

    def _pair_lists(self, split: Split) -> dict[tuple[str, str], Any]:
        """Draw the lists of a split, by kind of pair and name of the list."""
        from dife_lightning.world import pair_list

        if split == "val":
            return {(pair, "val"): pair_list(pair, "val", "long", count=self.val_count) for pair in self.pairs}
        options: dict[str, Any] = {"seed": self.test_seed, "count": self.count}
        return {(pair, name): pair_list(pair, "test", name, **options) for pair in self.pairs for name in self.lists}

    def _prepared(self, split: Split, pair: str, name: str, found: Any, framing: FramingName) -> KeypointPairs:
        """Render the pairs of a list, or read them from the cache."""
        from dife_lightning.world import WORLD_VERSION, WorldFaces

        indices = [(entry[1], entry[3]) for entry in found]
        counts = [max(column) + 1 for column in zip(*indices, strict=True)]
        seeds = framing_seeds(self.test_seed if split == "test" else None)
        source, target = (
            WorldFaces(species, split, count, framing=framing, size=self.size, seed=seed)
            for species, count, seed in zip(pair.split("+"), counts, seeds, strict=True)
        )
        names: dict[str, Any] = {"pair": pair, "list_name": name, "framing": framing}
        pairs = KeypointPairs(source, target, indices, **names, list_hash=found.hash, size=self.size)
        key = (WORLD_VERSION, split, pair, found.hash, framing, self.size, *seeds)
        prepare(pairs, key, self.num_workers, disk=self.cache)
        return pairs


def framing_seeds(test_seed: int | None = None) -> tuple[int, int]:
    """Return the seeds of the framings of source and target, which are independent also within a species."""
    seed = test_seed or 0
    return 2 * seed, 2 * seed + 1
