"""All of DIFE on the embedded world: train both stages and the equal-time control, test, draw, report.

``python -m experiments.demo`` builds the plan ``experiments/tables/plans/demo.yaml`` in the same way as the tables, so
a finished training is kept and an interrupted one continues. It prints each `dife` command that it runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import PREDICTIONS, RunFolder
from experiments.common.claims import ROW_KEYS
from experiments.common.commands import guarded, heading
from experiments.common.jobs import fit_words
from experiments.common.options import recorded_facts
from experiments.common.plan import PLANS, Plan, read_plan
from experiments.tables.__main__ import build
from experiments.tables.workspace import Workspace

MODELS = {"human+dog": "human_dog", "human+cat": "human_cat", "dog+cat": "dog_cat"}
#: Settings of ``--fast``: a few steps, only to check that everything runs.
FAST_FIT = {
    "model.init_args.warmup_steps": 4,
    "trainer.max_steps": 6,
    "trainer.val_check_interval": 2,
    "data.init_args.evaluation.init_args.val_count": 4,
}
FAST_COUNT = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    options = parse(arguments)
    return guarded(lambda: demo(options), "run `make demo` again to continue")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options and fill in those that depend on others."""
    parser = argparse.ArgumentParser(prog="python -m experiments.demo", description=__doc__)
    add = parser.add_argument
    add("--pair", choices=MODELS, default="human+dog", help="source and target species (%(default)s)")
    add("--seed", type=int, default=0, help="seed of the trainings and pictures (%(default)s)")
    add("--out", type=Path, help="folder of the results; default: results/demo, with the pair and seed if given")
    add("--runs_root", type=Path, default=Path("runs/demo"), help="folder of the runs (%(default)s)")
    add("--config", help="configuration of the training; default: world/<pair>")
    add("--fast", action="store_true", help="a few steps and pairs, to check that everything runs")
    options = parser.parse_args(arguments)
    options.model = MODELS[options.pair]
    usual = options.pair == "human+dog" and options.seed == 0
    options.out = options.out or Path("results") / ("demo" if usual else f"demo-{options.model}-{options.seed}")
    return options


def demo_plan(options: argparse.Namespace) -> Plan:
    """Return the plan of the demo: the columns of one model, with the configuration and length of the options."""
    plan = read_plan(PLANS / "demo.yaml")
    plan = plan.only([column.name for column in plan.columns if column.model == options.model], None)
    changed: dict[str, Any] = {"fit": options.config} if options.config else {}
    changed |= {"set": FAST_FIT} if options.fast else {}
    changes: dict[str, dict[str, Any]] = {"dife": changed}
    if options.config:
        teacher = resolved_settings(fit_words(options.config, 0))["model"]["init_args"]["teacher"]
        changes["surface-teacher"] = {"arguments": {"embedder": str(teacher)}}
    rows = tuple(replace(row, **changes.get(row.name, {})) for row in plan.rows)
    return replace(plan, rows=rows, measure=replace(plan.measure, config=options.config))


def demo(options: argparse.Namespace) -> dict[str, Any]:
    """Train, test, draw and report; return what is in ``summary.json``."""
    start = time.perf_counter()
    count = FAST_COUNT if options.fast else None
    workspace = Workspace(demo_plan(options), options.runs_root, count=count, seeds=(options.seed,))
    heading(1, "Trainings and tests: DIFE, then its control, the warm-up alone in equal time")
    table = build(workspace, [options.seed], options.out)
    runs = {name: workspace.run(name, options.model, options.seed) for name in ("dife", "dife-warmup")}
    matching, alone = (run.stages()["matching"]["seconds"] for run in runs.values())
    print(f"matching with pair synthesis took {matching:.0f} s, the control without it {alone:.0f} s")
    heading(2, "Pictures")
    drawn = time.perf_counter()
    pictures = draw(runs["dife"], workspace, options)
    times = {"fit": table["times"].get(runs["dife"].name, 0.0)}
    times |= {"control": table["times"].get(runs["dife-warmup"].name, 0.0), "test": table["times"]["test"]}
    times |= {"pictures": time.perf_counter() - drawn, "total": time.perf_counter() - start}
    summary = summarize(table, runs, options)
    summary |= {"seconds": {name: round(value, 1) for name, value in times.items()}, "pictures": pictures}
    write_json(options.out / "summary.json", summary)
    print(f"\n{options.out}/summary.json and {', '.join(pictures.values())}; {times['total'] / 60:.1f} minutes")
    return summary


def draw(run: RunFolder, workspace: Workspace, options: argparse.Namespace) -> dict[str, str]:
    """Write the pictures and return picture -> file name."""
    import dife_lightning
    from dife_lightning.registry import get_method
    from experiments.demo.pictures import draw_all

    teacher = run.settings()["model"]["init_args"]["teacher"]
    methods = {
        "DIFE": dife_lightning.load(run.path),
        "surface teacher": get_method("frozen-embedder")(embedder=teacher),
    }
    data = workspace.plan.measure.prepared(workspace.plan.pairs(), workspace.count)
    return draw_all(methods, data, run, options.out, seed=options.seed)


def summarize(table: dict[str, Any], runs: dict[str, RunFolder], options: argparse.Namespace) -> dict[str, Any]:
    """Return ``summary.json`` without times and pictures, from the content of ``table.json``."""
    return {
        **{kind: [{key: row[key] for key in ROW_KEYS} for row in table[kind]] for kind in ("rows", "paper_rows")},
        "comparisons": table["comparisons"],
        "ratios": table["ratios"],
        "stages": {name: run.stages() for name, run in runs.items()},
        "seed": options.seed,
        "fast": options.fast,
        **recorded_facts(),
        "runs": {name: str(run.path) for name, run in runs.items()},
        "predictions": {row["method"]: f"{row['run'][0]}/{PREDICTIONS}" for row in table["rows"]},
    }


if __name__ == "__main__":
    sys.exit(main())
