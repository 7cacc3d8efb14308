"""The tests to analyse, and the sets of pairs that all of them have in common.

A test is a folder with the ``predictions.csv`` of `dife test`: that of a run of a table, or any folder of the user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.bootstrap import interval_over, said_over
from dife_lightning.metrics.predictions import Key, PointTable, read_predictions
from dife_lightning.utils.run_folder import CHECKPOINTS, PREDICTIONS, TEST_METRICS
from experiments.common.claims import CLAIM_FRAMING, CLAIM_LIST, CLAIM_PROTOCOL
from experiments.common.plan import MOST_SEEDS, Plan, TableRow, check_names

#: Largest difference of true points on the same pictures (rounding), in pixels.
SAME = 0.01


@dataclass(frozen=True)
class ResultFolder:
    """The folder of one test.

    Attributes:
        folder: holds the predictions.
        pairs: kinds of pair to read from it; None reads all.
        model: what was tested, if known: a run's folder, the name of an embedder, or a method's class.
        seed: position of the test among those of a method.
    """

    folder: Path
    pairs: tuple[str, ...] | None = None
    model: str | None = None
    seed: int = 0


#: method -> its tests
ResultFolders = dict[str, list[ResultFolder]]


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
        """The first table; all tables have the same pairs, landmarks, true points and visibility."""
        return next(iter(self.tables.values()))[0]


@dataclass
class ComparedTests:
    """The sets that all methods have in common, one line for everything left out, and the plan of the table, if any."""

    sets: list[AnalysisSet]
    sources: ResultFolders
    left_out: list[str] = field(default_factory=list)
    plan: Plan | None = None

    @property
    def over(self) -> str:
        """What the intervals are over, in words."""
        return said_over({interval_over(one.first.units) for one in self.sets})

    def __str__(self) -> str:
        """Describe what the sets have in common."""
        one, counts = self.sets[0], sorted({len(each.pair_ids) for each in self.sets})
        pairs = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f"{pairs} pairs of list '{one.list_name}', {one.framing}"


def from_plan(plan: Plan, runs_root: Path, rows: Sequence[str] | None, left_out: list[str]) -> ResultFolders:
    """Return the tests of a table's rows; for each kind of pair, that of the model of the first column with the kind.

    Args:
        plan: plan of the table.
        runs_root: folder of its runs.
        rows: its rows, all if None; a named row must have a test.
        left_out: gets a line for each other row without a test.

    Raises:
        ConfigError: a row is not in the plan.
        DataError: a named row has no test.
    """
    check_names("no row {} in the table", rows, [row.name for row in plan.rows])
    found: ResultFolders = {}
    for row in plan.rows if rows is None else [row for row in plan.rows if row.name in rows]:
        if rows is None and row.first is not None:
            left_out.append(f"{row.name}: tested only on the first {row.first} pairs of each list")
        elif folders := [test for pair in plan.pairs() for test in _of_row(plan, row, runs_root, pair)]:
            found[row.name] = folders
        elif rows is not None:
            raise DataError(f"no test of '{row.name}' in {runs_root}: make the table first, or name other --rows")
        else:
            left_out.append(f"{row.name}: no test in {runs_root}")
    return found


def _of_row(plan: Plan, row: TableRow, runs_root: Path, pair: str) -> list[ResultFolder]:
    """Return the newest test of a kind of pair for each seed of a row."""
    if row.trained:
        column = next(column for column in plan.columns if pair in column.pairs)
        runs = [runs_root / f"{row.name}-{column.model}-seed{seed}" for seed in range(MOST_SEEDS)]
        tested = [(run, str(run)) for run in runs]
    else:
        embedder = row.arguments.get("embedder", "world/teacher")
        tested = [(runs_root / row.name, embedder if row.test == "FrozenEmbedder" else str(row.test))]
    found = []
    for seed, (run, model) in enumerate(tested):
        folders = [file.parent for file in _newest_first(run.glob(f"eval/*/{PREDICTIONS}"))]
        own = [folder for folder in folders if pair in folder.name.split("_")]
        found += [ResultFolder(folder, (pair,), model, seed) for folder in own[:1]]
    return found


def _newest_first(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (file.stat().st_mtime, str(file)), reverse=True)


def named(words: Sequence[str], expected: str) -> list[tuple[str, str]]:
    """Split words of the form ``name=place``.

    Raises:
        ConfigError: a word of another form; the message says what was ``expected``.
    """
    for word in words:
        if not all(word.partition("=")):
            raise ConfigError(f"'{word}': {expected}")
    return [(name, place) for name, _, place in (word.partition("=") for word in words)]


def from_words(words: Sequence[str]) -> ResultFolders:
    """Return the tests that ``name=folder`` words name; several with one name are several seeds.

    Args:
        words: a folder holds predictions.csv, or is a run with tests in ``eval``.

    Raises:
        ConfigError: a word of another form.
        DataError: a folder without predictions.
    """
    found: ResultFolders = {}
    for name, place in named(words, f"expected name=folder, a folder with the {PREDICTIONS} of `dife test`"):
        folder = Path(os.path.expanduser(place))
        run = next((str(up) for up in (folder, *folder.parents[:3]) if (up / CHECKPOINTS).is_dir()), None)
        own = folder / PREDICTIONS
        files = [own] if own.is_file() else _newest_first(folder.glob(f"eval/**/{PREDICTIONS}"))
        if not files:
            raise DataError(f"no {PREDICTIONS} in {folder} or in its eval folder: run `dife test` first")
        seed = 1 + max((source.seed for source in found.get(name, [])), default=-1)
        found.setdefault(name, []).extend(ResultFolder(file.parent, None, run, seed) for file in files)
    return found


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
        raise DataError("no tests to analyse: make a table first, or add name=FOLDER, a folder with a predictions.csv")
    found = {method: _read(tests) for method, tests in sources.items()}
    keys = list(dict.fromkeys(key for tables in found.values() for key in tables))
    asked = [given or _usual(keys, 1 + i) for i, given in enumerate((list_name, framing, protocol))]
    chosen = [key for key in keys if (pairs is None or key[0] in pairs) and list(key[1:]) == asked]
    left_out = [f"{pair}: in no test" for pair in pairs or () if pair not in {key[0] for key in chosen}]
    sets = [made for key in chosen if (made := _common(key, found, sources, left_out)) is not None]
    if not sets:
        reasons = "; ".join(left_out) or f"found: {', '.join('/'.join(key) for key in keys) or 'none'}"
        wanted, advice = f"{'/'.join(asked)} of all of {', '.join(sources)}", "--list, --framing or --protocol"
        raise DataError(f"no set {wanted} ({reasons}): test all on the same lists, or choose others with {advice}")
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
    return ordered if not gaps.size or gaps.max() <= SAME else None


def _image_size(tests: Sequence[ResultFolder]) -> int | None:
    """Return the side of the test pictures, from the first ``metrics.json`` that holds it."""
    for test in tests:
        try:
            metrics = json.loads((test.folder / TEST_METRICS).read_text(encoding="utf-8"))
            return int(metrics["switches"]["image_size"])
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return None
