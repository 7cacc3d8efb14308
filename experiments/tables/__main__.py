"""The paper's tables: `make reproduce-table1` to `table4`, or `python -m experiments.tables table1 --help`.

Trains the rows of the plan, tests all of them on the same pairs, and writes the table. Finished runs are kept,
interrupted ones continue, and seeds of earlier calls are always included. Runs that have a record in the folder
``--records`` are not trained again; ``--no_training`` trains nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.common.commands import guarded
from experiments.common.options import full_name, names, plan_of, runs_root_of, table_parser
from experiments.common.plan import MOST_SEEDS
from experiments.tables.workspace import Workspace, remembering


def main(words: Sequence[str] | None = None) -> int:
    """Build the tables; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build_all(options), "run the same command again to continue")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = table_parser("tables", __doc__)
    add = parser.add_argument
    add("tables", nargs="*", default=["table1"], help="table1 to table4, or swept; default: table1")
    add("--seeds", type=_seeds, default=[0], help="number of seeds (3 means 0, 1, 2), or seeds such as 1,2")
    add("--columns", type=names, help="columns to build, separated by commas; default: all")
    add("--out", type=Path, help="folder of the table; default: results/<table>, with the benchmark's name")
    add("--trainer", help="trainer preset; default: the plan's")
    add("--records", type=Path, help="folder of committed records, which replace trainings and tests")
    add("--no_training", action="store_true", help="train nothing; rows without a run are left out")
    add("--record", type=Path, help="folder for records to commit: the table and a small file for each run")
    add("--count", type=int, help="test only so many pairs of each list, to try things out; tests on all are kept")
    options = parser.parse_args(words)
    if options.plan is not None and len(options.tables) > 1:
        parser.error("--plan takes a single table")
    return options


def _seeds(text: str) -> list[int]:
    several = [int(part) for part in text.split(",") if part]
    if len(several) == 1 and "," not in text:
        several = list(range(several[0]))
    if not several or min(several) < 0 or max(several) >= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number of seeds up to {MOST_SEEDS}, or seeds as 1,2")
    return several


def build_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Build each table that was asked for; returns the content of each ``table.json``."""
    resolve = remembering()
    found = []
    for name in options.tables:
        plan = plan_of(name, options).only(options.columns, options.rows)
        workspace = Workspace(
            plan, runs_root_of(options), options.records, options.trainer or plan.trainer, options.count,
            train=not options.no_training, resolve=resolve,
        )  # fmt: skip
        full = full_name(name, options)
        out = options.out or Path("results") / full
        record = None if options.record is None else (options.record, full)
        found.append(build(workspace, options.seeds, out, record))
    return found


def build(
    workspace: Workspace, seeds: Sequence[int], out: Path, record: tuple[Path, str] | None = None
) -> dict[str, Any]:
    """Train, test, assemble and write one table.

    Args:
        workspace: plan, runs and records.
        seeds: seeds of the trainings.
        out: folder of the table.
        record: folder for records and the name of the table there; None writes no records.

    Returns:
        The content of ``table.json``, with ``times``: run -> seconds of the training, and ``test`` of all tests.
    """
    from experiments.tables.assemble import assemble
    from experiments.tables.missing import without_missing
    from experiments.tables.output import write_table
    from experiments.tables.records import write_records
    from experiments.tables.testing import test_all

    start = time.perf_counter()
    missing: dict[str, str] = {}
    if workspace.train:
        workspace, missing = without_missing(workspace)
    times = workspace.fit_all(seeds) if workspace.train else {}
    trained = time.perf_counter()
    tests, left_out = test_all(workspace)
    left_out = missing | left_out
    times |= {"test": time.perf_counter() - trained}
    plan = workspace.plan.without(left_out).where({(row, model) for row, model, _ in tests})
    table = assemble(plan, tests)
    table |= {"left_out": left_out, "seconds": round(time.perf_counter() - start, 1)}
    write_table(table, plan, out)
    if record is not None:
        write_records(table, plan, *record)
    print(f"\n{out}/table.json, .md, .csv, .tex, .png; {table['seconds'] / 60:.1f} minutes")
    return table | {"times": times}


if __name__ == "__main__":
    raise SystemExit(main())
