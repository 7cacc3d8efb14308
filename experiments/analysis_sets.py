"""Which tests an analysis compares: the runs of a table, or any folders, on the sets that all of them have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.metrics.predictions import Key, PointTable, read_predictions
from dife_lightning.schemes import get_protocol
from experiments.plan import Plan
from experiments.rows import CLAIM_FRAMING, CLAIM_LIST, CLAIM_PROTOCOL

FILE = "predictions.csv"
#: Seeds beyond this are never looked for.
MOST_SEEDS = 10
#: True points of two tests on the same pictures differ by rounding alone, in pixels.
_SAME = 0.01


@dataclass(frozen=True)
class Source:
    """One test: its folder, the kinds of pair that it counts for (None: all in it), and what was tested.

    ``model`` is a run's folder, the name of an embedder or a method's class, where it is known; ``seed`` orders the
    tests of a method.
    """

    folder: Path
    pairs: tuple[str, ...] | None = None
    model: str | None = None
    seed: int = 0


#: method -> its tests
Sources = dict[str, list[Source]]


@dataclass(frozen=True)
class AnalysisSet:
    """The pairs of one kind, in one order, and what each method's tests (one or several seeds) gave on them."""

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
        """A table, for what all of them share: pairs, landmarks, truth and visibility."""
        return next(iter(self.tables.values()))[0]


@dataclass
class Comparison:
    """The sets that all methods have, and in one line each what was left out."""

    sets: list[AnalysisSet]
    sources: Sources
    left_out: list[str] = field(default_factory=list)


# Finding


def from_plan(plan: Plan, runs_root: Path, rows: Sequence[str] | None, left_out: list[str]) -> Sources:
    """Return the tests of a table's rows: of each kind of pair that of the first column's model that has it.

    Args:
        plan: of the table.
        runs_root: where its runs lie.
        rows: which of its rows, all if None; a row that was asked for must be there.
        left_out: is told which other rows are not there.

    Raises:
        ConfigError: a row is not in the plan.
        DataError: no run, or none of a row that was asked for.
    """
    names = [row.name for row in plan.rows]
    for name in rows or ():
        if name not in names:
            raise ConfigError(f"no row '{name}' in the table. {did_you_mean(name, names)}")
    found: Sources = {}
    for row in plan.rows:
        if rows is None or row.name in rows:
            folders = _of_row(plan, row.name, runs_root)
            if folders:
                found[row.name] = folders
            elif rows is not None:
                raise DataError(f"no test of '{row.name}' in {runs_root}: make the table first, or name other --rows")
            else:
                left_out.append(f"{row.name}: no test in {runs_root}")
    return found


def _of_row(plan: Plan, name: str, runs_root: Path) -> list[Source]:
    row = plan.row(name)
    found: list[Source] = []
    for pair in plan.pairs():
        if not row.trained:
            found += _newest(runs_root / name, pair, _untrained_model(row.test, row.arguments), 0)
            continue
        model = next(column.model for column in plan.columns if pair in column.pairs)
        for seed in range(MOST_SEEDS):
            run = runs_root / f"{name}-{model}-seed{seed}"
            found += _newest(run, pair, str(run), seed)
    return found


def _untrained_model(test: str | None, arguments: Mapping[str, str]) -> str | None:
    return arguments.get("embedder", "world/teacher") if test == "FrozenEmbedder" else test


def _newest(run: Path, pair: str, model: str | None, seed: int) -> list[Source]:
    """Return the newest test of a run that has a kind of pair; none if there is none."""
    files = _newest_first(run.glob(f"eval/*/{FILE}"))
    folder = next((file.parent for file in files if pair in file.parent.name.split("_")), None)
    return [] if folder is None else [Source(folder, (pair,), model, seed)]


def _newest_first(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (file.stat().st_mtime, str(file)), reverse=True)


def from_words(words: Iterable[str]) -> Sources:
    """Return the tests that ``name=folder`` words name; a name may come several times, for several seeds.

    Args:
        words: a folder holds predictions.csv, or is a run with tests below ``eval``.

    Raises:
        ConfigError: a word of another form.
        DataError: a folder without predictions.
    """
    found: Sources = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not (name and equals and place):
            raise ConfigError(f"'{word}': expected name=folder, a folder with the {FILE} of `dife test`")
        folder = Path(place).expanduser()
        run = next((place for place in (folder, *folder.parents[:3]) if (place / "checkpoints").is_dir()), None)
        model = None if run is None else str(run)
        files = [folder / FILE] if (folder / FILE).is_file() else _newest_first(folder.glob(f"eval/**/{FILE}"))
        if not files:
            raise DataError(f"no {FILE} in {folder} or below its eval: run `dife test` first")
        seed = 1 + max((source.seed for source in found.get(name, [])), default=-1)
        found.setdefault(name, []).extend(Source(file.parent, None, model, seed) for file in files)
    return found


# Reading


def read_sets(
    sources: Sources,
    *,
    pairs: Sequence[str] | None = None,
    list_name: str | None = None,
    framing: str | None = None,
    protocol: str | None = None,
) -> Comparison:
    """Read the tests and keep the sets that every method has, on the same pairs.

    Args:
        sources: method -> its tests.
        pairs: kinds of pair, all that are found if None.
        list_name: test list; if None ``long``, or another where no test has that.
        framing: of the pictures; if None ``jittered``, or another.
        protocol: landmark set; if None ``9-point``, or another.

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
    return Comparison(sets, sources, left_out)


def _usual(keys: Sequence[Key], place: int) -> str:
    """Return what is analysed where nobody asked: what claims are made on, else what there is."""
    known = list(dict.fromkeys(key[place] for key in keys))
    return next((name for name in (CLAIM_LIST, CLAIM_FRAMING, CLAIM_PROTOCOL) if name in known), (*known, "any")[0])


def _read(tests: Sequence[Source]) -> dict[Key, list[PointTable]]:
    """Return the tables of a method by set, one for each seed, in their order; a file is read once."""
    files = {folder: read_predictions(folder / FILE) for folder in dict.fromkeys(test.folder for test in tests)}
    tables: dict[Key, dict[int, PointTable]] = {}
    for test in sorted(tests, key=lambda test: test.seed):
        for key, table in files[test.folder].items():
            if test.pairs is None or key[0] in test.pairs:
                tables.setdefault(key, {}).setdefault(test.seed, table)
    return {key: list(by_seed.values()) for key, by_seed in tables.items()}


def _common(
    key: Key, found: Mapping[str, Mapping[Key, Sequence[PointTable]]], sources: Sources, left_out: list[str]
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
    return AnalysisSet(*key, ordered, _image_size(next(iter(sources.values()))))


def _in_order(table: PointTable, first: PointTable) -> PointTable | None:
    """Return ``table`` in the order of ``first``; None if it is not about the same points of the same pictures."""
    if table.landmarks != first.landmarks or set(table.pair_ids) != set(first.pair_ids):
        return None
    row = {pair_id: i for i, pair_id in enumerate(table.pair_ids)}
    ordered = table.take([row[pair_id] for pair_id in first.pair_ids])
    if not np.array_equal(ordered.visible, first.visible):
        return None
    gaps = np.abs(ordered.truth - first.truth)[first.visible]
    return ordered if not gaps.size or gaps.max() <= _SAME else None


def _image_size(tests: Sequence[Source]) -> int | None:
    """Return the side of the test pictures, from the ``metrics.json`` beside a test; None where it does not say."""
    path = tests[0].folder / "metrics.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["switches"]["image_size"])
    except (OSError, KeyError, TypeError, ValueError):
        return None
