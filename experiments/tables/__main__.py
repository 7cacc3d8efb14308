"""The paper's tables: `make reproduce-table1` to `table4`, or `python -m experiments.tables table1 --help`.

Trains what the plan asks for, tests everything on the same pairs, and writes the table. What is finished is kept (see
``experiments/common/cells.py``), what was interrupted goes on, and seeds that were trained before count in any case.
With ``--records`` what is recorded there need not be trained again; with ``--no_training`` nothing is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError, DataError, DifeError, did_you_mean
from experiments.common.cells import Cell, testing_key
from experiments.common.measure import Measure
from experiments.common.pair_errors import read_errors
from experiments.common.plan import PLANS, Plan, TableRow, read_plan
from experiments.common.runs import Run, guarded
from experiments.tables.records import Record, covers, find_record
from experiments.tables.rows import Tested
from experiments.tables.trainings import Place, Training, run_of, train_all, training_of, untrained, versions_of

#: (row, model, seed)
Key = tuple[str, str, int]
#: Seeds beyond this are never looked for.
MOST_SEEDS = 10


def main(words: Sequence[str] | None = None) -> int:
    """Build the tables; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build_all(options), "the same command goes on")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tables", description=__doc__)
    add = parser.add_argument
    add("tables", nargs="*", default=["table1"], help="table1 to table4, swept; table1 by default")
    add("--seeds", type=_seeds, default=[0], help="how many: 3 is seeds 0, 1, 2 of each training; or 1,2: just those")
    add("--columns", type=_names, help="columns to build, with commas; all by default")
    add("--rows", type=_names, help="rows to build, with commas; all by default")
    add("--benchmark", help="mafl_ap10k or wflw_animalweb: on your own photographs (docs/real_data.md)")
    add("--plan", type=Path, help="what the table consists of; experiments/<table>.yaml, or that of the benchmark")
    add("--runs_root", type=Path, help="folder of the runs, shared by the tables (runs/tables or runs/<benchmark>)")
    add("--out", type=Path, help="folder of the table (results/<table>, with the benchmark's name)")
    add("--trainer", help="trainer preset; the plan's")
    add("--records", type=Path, help="folder of committed records: what they hold is neither trained nor tested again")
    add("--no_training", action="store_true", help="build from what is there, without rows that have no run")
    add("--record", type=Path, help="also write the table and a small file per run here, to be committed")
    add("--count", type=int, help="test pairs in each list instead of its own number; to try things out")
    options = parser.parse_args(words)
    if options.plan is not None and len(options.tables) > 1:
        parser.error("--plan is about one table")
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def _seeds(text: str) -> list[int]:
    several = [int(part) for part in text.split(",") if part]
    if len(several) == 1 and "," not in text:
        several = list(range(several[0]))
    if not several or min(several) < 0 or max(several) >= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number of seeds up to {MOST_SEEDS}, or seeds as 1,2")
    return several


def build_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Build each table that was asked for; returns what is in each ``table.json``."""
    return [build(name, options) for name in options.tables]


def build(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, test, assemble and write one table; returns what is in ``table.json``."""
    from experiments.tables.output import write_table
    from experiments.tables.records import write_records
    from experiments.tables.rows import assemble

    start = time.perf_counter()
    full = f"{name}_{options.benchmark}" if options.benchmark else name
    plan = _read(options.plan or PLANS / f"{full}.yaml", options)
    place = Place(
        options.runs_root or Path("runs") / (options.benchmark or "tables"),
        options.records,
        options.trainer or plan.trainer,
    )
    if not options.no_training:
        train_all(plan, options.seeds, place)
    tests, left_out = test_all(plan, place, options)
    plan = plan.without(left_out)
    table = assemble(plan, tests)
    table |= {"left_out": left_out, "seconds": round(time.perf_counter() - start, 1)}
    out = options.out or Path("results") / full
    write_table(table, plan, out)
    if options.record is not None:
        write_records(table, plan, options.record, full)
    print(f"\n{out}/table.json, .md, .csv, .tex, .png; {table['seconds'] / 60:.1f} minutes")
    return table


def _read(path: Path, options: argparse.Namespace) -> Plan:
    if not path.is_file():
        known = sorted(p.stem for p in PLANS.glob("*.yaml"))
        raise ConfigError(f"no plan {path}. {did_you_mean(path.stem, known)}")
    return read_plan(path).only(options.columns, options.rows)


# Testing


def test_all(plan: Plan, place: Place, options: argparse.Namespace) -> tuple[dict[Key, Tested], dict[str, str]]:
    """Test every row on its pairs, or take the test from the records; returns the tests, and row -> why it has none.

    Raises:
        DataError: the row that the others are compared with has no run, though nothing is to be trained.
    """
    found: dict[Key, Tested] = {}
    left_out: dict[str, str] = {}
    for row in plan.rows:
        try:
            found |= _tests_of(row, plan, place, options)
        except DifeError as error:
            if not row.optional:
                raise
            left_out[row.name] = without_home(str(error))
            print(f"{row.name} is left out: {error}", flush=True)
    _leave_out_missing(plan, found, place, left_out)
    return {key: test for key, test in found.items() if key[0] not in left_out}, left_out


def without_home(message: str) -> str:
    """Return a message with ``~`` for the home folder: tables are committed and read elsewhere."""
    home = str(Path.home())
    return message.replace(home + "/", "~/") if len(home) > 1 else message


def _tests_of(row: TableRow, plan: Plan, place: Place, options: argparse.Namespace) -> dict[Key, Tested]:
    if not row.trained:
        test = _tested(row, None, plan.pairs(), plan.measure, place, options)
        return {(row.name, model, 0): test for model in plan.models()}
    found = {}
    for model, pairs in plan.models().items():
        for seed in range(MOST_SEEDS):
            training = _available(row, model, seed, plan, place)
            if training is not None:
                found[row.name, model, seed] = _tested(row, training, pairs, plan.measure, place, options)
    return found


def _available(row: TableRow, model: str, seed: int, plan: Plan, place: Place) -> Training | None:
    """Return a training that is finished or recorded with today's settings; also of a seed that was not asked for."""
    there = run_of(row.name, model, seed, place)
    if not there.folder.is_dir() and find_record(place.records, there.name) is None:
        return None
    try:
        training = training_of(row, model, seed, plan, place)
    except DataError:  # a row that takes its length from a run which is not there
        return None
    return training if training.available else None


def _leave_out_missing(plan: Plan, found: dict[Key, Tested], place: Place, left_out: dict[str, str]) -> None:
    """Leave out rows without a run for every model, and say so.

    Raises:
        DataError: nothing is left, or the row that the others are compared with is missing.
    """
    have = {(row, model) for row, model, _ in found}
    where = f"{place.runs_root}{f' or {place.records}' if place.records else ''}"
    for row in plan.rows:
        missing = [model for model in plan.models() if (row.name, model) not in have]
        if not missing or row.name in left_out:
            continue
        reason = f"no finished run of {row.name}-{missing[0]} in {where}"
        if row.name == plan.reference:
            raise DataError(f"{reason}: run the table without --no_training, or name other --rows and --columns")
        left_out[row.name] = f"{reason}; it is trained without --no_training"
        print(f"{row.name} is left out: {left_out[row.name]}", flush=True)


def _tested(
    row: TableRow,
    training: Training | None,
    pairs: Sequence[str],
    measure: Measure,
    place: Place,
    options: argparse.Namespace,
) -> Tested:
    """Test a trained run, or a method that needs no training, on some kinds of pairs, unless that is done already."""
    hashes = measure.pairs(pairs, options.count).list_hashes()["test"]
    recorded = _recorded(row, training, hashes, place)
    if recorded is not None:
        return Tested(recorded.errors(), str(recorded.path))
    folder = _test(row, None if training is None else training.run, pairs, hashes, measure, place, options)
    return Tested(read_errors(folder, measure), str(folder))


def _recorded(row: TableRow, training: Training | None, hashes: dict[str, str], place: Place) -> Record | None:
    if training is None:
        found = find_record(place.records, row.name)
        key = testing_key(None, row.arguments, hashes, versions_of(str(row.test)), row.first)
        return found if found is not None and covers(found, key) else None
    found = None if training.finished else training.record
    same = found is not None and found.test_key.get("first") == row.first
    return found if same and hashes.items() <= found.test_key["lists"].items() else None


def _test(
    row: TableRow,
    run: Run | None,
    pairs: Sequence[str],
    hashes: dict[str, str],
    measure: Measure,
    place: Place,
    options: argparse.Namespace,
) -> Path:
    from dife_lightning import load
    from dife_lightning.loading import best_checkpoint
    from experiments.common.baselines import score

    folder = (place.runs_root / row.name if run is None else run.folder) / "eval" / "_".join(pairs)
    module = load(run.folder) if run is not None else untrained(row)
    checkpoint = None if run is None else best_checkpoint(run.folder)
    key = testing_key(checkpoint, row.arguments, hashes, versions_of(type(module).__name__), row.first)
    cell = Cell(folder / "cell.json", key)
    if cell.state()[0] != "finished":
        if options.no_training and row.optional:
            raise DataError(f"no finished test of {row.name} in {folder}; it is tested without --no_training")
        print(f"testing {row.name if run is None else run.name} on {', '.join(pairs)} ...", flush=True)
        score(row.name, module, measure.prepared(pairs, options.count, row.first), folder)
        cell.write(finished=True)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
