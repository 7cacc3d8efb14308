"""Tables of landmark models: ``make reproduce-meta-cskt`` or ``python -m experiments.landmarks world``.

Trains the rows of a plan (``world`` or ``photos``), tests all of them on the same faces, and writes the main table with
the steps of the ablation; ``--curve`` adds the learning curve over the number of labels. Finished runs are kept,
interrupted ones continue, and runs that have a record in the folder ``--records`` are not made again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.common.commands import guarded
from experiments.common.options import names
from experiments.landmarks.plan import LandmarkPlan, read_plan
from experiments.landmarks.runs import Runs, ScoredRow


def main(words: Sequence[str] | None = None) -> int:
    """Build a table; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build(options), "run the same command again to continue")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.landmarks", description=__doc__)
    add = parser.add_argument
    add("plan", nargs="?", default="world", help="world, photos, or a file; default: world")
    add("--rows", type=names, help="rows, separated by commas; default: all")
    add("--seeds", type=int, default=1, help="number of seeds; default: 1")
    add("--curve", action="store_true", help="also train on other numbers of labels, for the learning curve")
    add("--curve_seeds", type=int, help="number of seeds of the learning curve; default: as --seeds")
    add("--runs_root", type=Path, help="folder of the runs; default: runs/landmarks_<plan>")
    add("--records", type=Path, help="folder of committed records, which replace runs")
    add("--record", type=Path, help="folder for records to commit")
    add("--no_training", action="store_true", help="train and test nothing; rows without a test are left out")
    add("--out", type=Path, help="folder of the table; default: results/landmarks_<plan>")
    return parser.parse_args(words)


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Train, test and write one table; returns its content."""
    from dife_lightning.errors import ConfigError, DataError
    from experiments.landmarks.assemble import table_of
    from experiments.landmarks.output import write_table

    start, name = time.perf_counter(), Path(options.plan).stem
    whole = read_plan(options.plan)
    plan = whole.only(options.rows)
    if options.curve and not plan.curve_rows:
        raise ConfigError(
            f"--curve: none of the rows has a learning curve; expected some of {', '.join(whole.curve_rows)}"
        )
    runs = Runs(plan, options.runs_root or Path("runs") / f"landmarks_{name}", options.records, not options.no_training)
    tests: dict[tuple[str, int], ScoredRow] = {}
    for seed in range(options.seeds):
        for row in plan.rows:
            found = runs.test(row, seed)
            if found is not None:
                tests[row.name, seed] = found
                if options.record is not None:
                    runs.write_record(row, seed, None, found, options.record)
    if not tests:
        raise DataError(f"no row of the table {name} has a test: run it without --no_training")
    left_out = {row: why for row, why in runs.left_out.items() if row not in {name for name, _ in tests}}
    table = table_of(plan, tests, left_out) | {"seconds": round(time.perf_counter() - start, 1)}
    curve = curve_of(plan, runs, options, tests) if options.curve else None
    out = options.out or Path("results") / f"landmarks_{name}"
    write_table(table, out, curve)
    if options.record is not None:
        write_table(table, options.record, curve)
    print((out / "table.md").read_text(encoding="utf-8"))
    return table


def curve_of(
    plan: LandmarkPlan, runs: Runs, options: argparse.Namespace, tests: dict[tuple[str, int], ScoredRow]
) -> dict[str, Any]:
    """Return the learning curve: labels, and for each row and group the mean NME over seeds at each."""
    from experiments.landmarks.assemble import columns_of, groups_of
    from experiments.landmarks.errors import joined

    columns = columns_of(tests)
    seeds = options.curve_seeds or options.seeds
    lines = []
    for row in (plan.row(name) for name in plan.curve_rows):
        values: dict[str, list[float | None]] = {group: [] for group in groups_of(columns)}
        for labels in plan.curve:
            own = labels if labels != plan.labels else None  # the runs of the table itself
            found = [runs.test(row, seed, own) for seed in range(seeds)]
            known = [test for test in found if test is not None]
            for seed, test in enumerate(found):
                if test is not None and options.record is not None:
                    runs.write_record(row, seed, own, test, options.record)
            for group, so_far in values.items():
                means = [joined([test.errors[domain] for domain in columns[group]]).mean() for test in known]
                so_far.append(sum(means) / len(means) if means else None)
        lines += [{"row": row.name, "column": group, "nme": nme} for group, nme in values.items()]
    return {"labels": list(plan.curve), "seeds": seeds, "lines": lines}


if __name__ == "__main__":
    raise SystemExit(main())
