"""The sets of pairs that all compared tests have in common, with the predictions of each method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.predictions import Key, PointTable, read_predictions
from dife_lightning.utils.run_folder import PREDICTIONS, TEST_METRICS
from experiments.analyses.sources import ResultFolder, ResultFolders
from experiments.common.claims import CLAIM_FRAMING, CLAIM_LIST, CLAIM_PROTOCOL

#: Largest difference of true points between two tests on the same pictures (rounding), in pixels.
_SAME = 0.01


@dataclass(frozen=True)
class AnalysisSet:
    """The pairs of one kind in one order, with the predictions of each method for one or several seeds."""

    pair: str
    list_name: str
    framing: str
    protocol: str
    tables: Mapping[str, tuple[PointTable, ...]]
    image_size: int | None = None

    @property
    def pair_ids(self) -> tuple[str, ...]:
        """Names of the pairs."""
        return self.first.pair_ids

    @property
    def first(self) -> PointTable:
        """The first table; all have the same pairs, landmarks, truth and visibility."""
        return next(iter(self.tables.values()))[0]


@dataclass
class ComparedTests:
    """The sets that all methods have in common, and one line for everything that was left out."""

    sets: list[AnalysisSet]
    sources: ResultFolders
    left_out: list[str] = field(default_factory=list)


def read_sets(
    sources: ResultFolders,
    pairs: Sequence[str] | None = None,
    list_name: str | None = None,
    framing: str | None = None,
    protocol: str | None = None,
) -> ComparedTests:
    """Read the tests and keep the sets that every method has, on the same pairs.

    Args:
        sources: method -> its tests.
        pairs: kinds of pair; None takes all.
        list_name: test list; None takes ``long``, or another one if no test has it.
        framing: framing of the pictures; None takes ``jittered`` or another one.
        protocol: landmark set; None takes ``9-point`` or another one.

    Raises:
        ConfigError: an unknown protocol.
        DataError: no method, a file that cannot be read, or no common set.
    """
    if protocol is not None:
        get_protocol(protocol)
    if not sources:
        raise DataError("no tests to analyse: make a table first, or give name=folder with the predictions.csv in it")
    found = {method: _read(tests) for method, tests in sources.items()}
    keys = list(dict.fromkeys(key for tables in found.values() for key in tables))
    asked = [given or _usual(keys, 1 + i) for i, given in enumerate((list_name, framing, protocol))]
    chosen = [key for key in keys if (pairs is None or key[0] in pairs) and list(key[1:]) == asked]
    left_out = [f"{pair}: in no test" for pair in pairs or () if pair not in {key[0] for key in chosen}]
    sets = [made for key in chosen if (made := _common(key, found, sources, left_out)) is not None]
    if not sets:
        reasons = "; ".join(left_out) or f"found: {', '.join('/'.join(key) for key in keys) or 'none'}"
        wanted = f"{'/'.join(asked)} of all of {', '.join(sources)}"
        raise DataError(f"no set {wanted} ({reasons}): test them on the same lists, or name other sets")
    return ComparedTests(sets, sources, left_out)


def _usual(keys: Sequence[Key], place: int) -> str:
    """Return the default list, framing or protocol: that of the claims, else the first that exists."""
    known = list(dict.fromkeys(key[place] for key in keys))
    return next((name for name in (CLAIM_LIST, CLAIM_FRAMING, CLAIM_PROTOCOL) if name in known), (*known, "any")[0])


def _read(tests: Sequence[ResultFolder]) -> dict[Key, list[PointTable]]:
    """Return the tables of a method by set, one for each seed, in their order; a file is read once."""
    files = {folder: read_predictions(folder / PREDICTIONS) for folder in dict.fromkeys(test.folder for test in tests)}
    tables: dict[Key, dict[int, PointTable]] = {}
    for test in sorted(tests, key=lambda test: test.seed):
        for key, table in files[test.folder].items():
            if test.pairs is None or key[0] in test.pairs:
                tables.setdefault(key, {}).setdefault(test.seed, table)
    return {key: list(by_seed.values()) for key, by_seed in tables.items()}


def _common(
    key: Key, found: Mapping[str, Mapping[Key, Sequence[PointTable]]], sources: ResultFolders, left_out: list[str]
) -> AnalysisSet | None:
    name = "/".join(key)
    missing = [method for method, tables in found.items() if key not in tables]
    if missing:
        left_out.append(f"{name}: not tested by {', '.join(missing)}")
        return None
    first_method, first = next((method, tables[key][0]) for method, tables in found.items())
    ordered: dict[str, tuple[PointTable, ...]] = {}
    for method, tables in found.items():
        same = [_in_order(table, first) for table in tables[key]]
        if None in same:
            left_out.append(f"{name}: the pairs of {method} are not those of {first_method}")
            return None
        ordered[method] = tuple(table for table in same if table is not None)
    return AnalysisSet(*key, ordered, _image_size([test for tests in sources.values() for test in tests]))


def _in_order(table: PointTable, first: PointTable) -> PointTable | None:
    """Return ``table`` in the order of ``first``; None if the two have different points or pictures."""
    if table.landmarks != first.landmarks or set(table.pair_ids) != set(first.pair_ids):
        return None
    row = {pair_id: i for i, pair_id in enumerate(table.pair_ids)}
    ordered = table.take([row[pair_id] for pair_id in first.pair_ids])
    if not np.array_equal(ordered.visible, first.visible):
        return None
    gaps = np.abs(ordered.truth - first.truth)[first.visible]
    return ordered if not gaps.size or gaps.max() <= _SAME else None


def _image_size(tests: Sequence[ResultFolder]) -> int | None:
    """Return the side of the test pictures, from the first ``metrics.json`` that holds it."""
    for test in tests:
        try:
            metrics = json.loads((test.folder / TEST_METRICS).read_text(encoding="utf-8"))
            return int(metrics["switches"]["image_size"])
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return None
