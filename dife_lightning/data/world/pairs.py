"""Keypoint pairs of the embedded world, for validation, test and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from dife_lightning.data.cache import prepare
from dife_lightning.data.pairs import KeypointPairs, PairsDataModule, Split, check_pairs
from dife_lightning.errors import ConfigError, did_you_mean

ListName = Literal["paper", "long"]
FramingName = Literal["jittered", "plain"]


class _Plan(NamedTuple):
    """One set that is not rendered yet."""

    split: Split
    pair: str
    list_name: str
    pair_list: Any
    framing: FramingName


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
        _check_names("lists", lists, ("paper", "long"))
        _check_names("framings", framings, ("jittered", "plain"))
        _check_names("val_framings", val_framings, ("jittered", "plain"))
        self.pairs, self.lists, self.framings = list(pairs), list(lists), list(framings)
        self.val_framings, self.val_count, self.size = list(val_framings), val_count, size
        self.test_seed, self.count = test_seed, count

    def _make_sets(self, split: Split) -> list[KeypointPairs]:
        return [self._prepared(plan) for plan in self._plans(split)]

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of every validation and test list, by ``pair/list``."""
        plans = {split: self._plans(split) for split in ("val", "test")}
        return {split: {f"{p.pair}/{p.list_name}": p.pair_list.hash for p in plans[split]} for split in plans}

    def _plans(self, split: Split) -> list[_Plan]:
        lists: Sequence[str] = ["val"] if split == "val" else self.lists
        framings = self.val_framings if split == "val" else self.framings
        drawn = [(pair, name, self._draw(pair, split, name)) for pair in self.pairs for name in lists]
        return [_Plan(split, *start, framing) for start in drawn for framing in framings]

    def _draw(self, pair: str, split: Split, name: str) -> Any:
        from dife_lightning.world import pair_list

        if split == "val":
            return pair_list(pair, "val", "long", count=self.val_count)
        return pair_list(pair, "test", "paper" if name == "paper" else "long", seed=self.test_seed, count=self.count)

    def _build(self, plan: _Plan) -> KeypointPairs:
        from dife_lightning.world import WorldFaces

        indices = [(entry[1], entry[3]) for entry in plan.pair_list]
        counts = [max(column) + 1 for column in zip(*indices, strict=True)]
        species, seeds = plan.pair.split("+"), self._framing_seeds(plan.split)
        source, target = (
            WorldFaces(name, plan.split, count, framing=plan.framing, size=self.size, seed=seed)
            for name, count, seed in zip(species, counts, seeds, strict=True)
        )
        names: dict[str, Any] = {"pair": plan.pair, "list_name": plan.list_name, "framing": plan.framing}
        return KeypointPairs(source, target, indices, **names, list_hash=plan.pair_list.hash, size=self.size)

    def _framing_seeds(self, split: Split) -> tuple[int, int]:
        return framing_seeds(self.test_seed if split == "test" else None)

    def _prepared(self, plan: _Plan) -> KeypointPairs:
        from dife_lightning.world import WORLD_VERSION

        pairs = self._build(plan)
        seeds = self._framing_seeds(plan.split)
        key = (WORLD_VERSION, plan.split, plan.pair, plan.pair_list.hash, plan.framing, self.size, *seeds)
        prepare(pairs, key, self.num_workers, disk=self.cache)
        return pairs


def framing_seeds(test_seed: int | None = None) -> tuple[int, int]:
    """Return the seeds of the framings of source and target, which are independent also within a species."""
    seed = test_seed or 0
    return 2 * seed, 2 * seed + 1


def _check_names(option: str, found: Sequence[str], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise ConfigError(f"{option}: unknown '{name}'. {did_you_mean(name, known)}")
    if not found:
        raise ConfigError(f"{option} is empty: expected one or more of {', '.join(known)}")
