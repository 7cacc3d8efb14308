"""Table 1: `make reproduce-table1` on the embedded world, or `python -m experiments.table1 --help`.

Trains what the plan asks for, tests everything on the same pairs, and writes the table. What is finished is kept (see
``experiments/cells.py``), what was interrupted goes on, and seeds that were trained before count in any case.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.files import sha256
from experiments import runs
from experiments.cells import Cell, testing_key, training_key
from experiments.measure import Measure
from experiments.plan import Plan, TableRow, read_plan
from experiments.runs import Run, guarded

PLAN = Path(__file__).with_suffix(".yaml")
#: (row, model, seed)
Key = tuple[str, str, int]
#: Seeds beyond this are never looked for.
MOST_SEEDS = 10


def main(words: Sequence[str] | None = None) -> int:
    """Build the table; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build(options), "the same command goes on")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.table1", description=__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=1, help="seeds 0, 1, ... of each training (%(default)s)")
    add("--columns", type=_names, help="columns to build, with commas; all by default")
    add("--rows", type=_names, help="rows to build, with commas; all by default")
    add("--benchmark", help="mafl_ap10k or wflw_animalweb: on your own photographs (docs/real_data.md)")
    add("--plan", type=Path, help="what the table consists of; experiments/table1.yaml, or that of the benchmark")
    add("--runs_root", type=Path, help="folder of the runs (runs/table1, with the benchmark's name)")
    add("--out", type=Path, help="folder of the table (results/table1, with the benchmark's name)")
    add("--trainer", help="trainer preset; the plan's")
    add("--record", type=Path, help="also write the table and a small file per run here, to be committed")
    add("--count", type=int, help="test pairs in each list instead of its own number; to try things out")
    options = parser.parse_args(words)
    name = f"table1_{options.benchmark}" if options.benchmark else "table1"
    options.plan = options.plan or PLAN.with_name(f"{name}.yaml")
    options.runs_root, options.out = options.runs_root or Path("runs") / name, options.out or Path("results") / name
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Train, test, assemble and write; returns what is in ``table.json``."""
    from experiments.table_output import write_table
    from experiments.table_rows import assemble

    start = time.perf_counter()
    plan = _read(options)
    options.trainer = options.trainer or plan.trainer
    for model in plan.models():
        for seed in range(options.seeds):
            for row in sorted((row for row in plan.rows if row.trained), key=lambda row: row.control is not None):
                make(training_of(row, model, seed, plan, options))
    folders = test_all(plan, options)
    table = assemble(plan, folders)
    table |= {"seconds": round(time.perf_counter() - start, 1)}
    write_table(table, plan, options.out)
    if options.record is not None:
        from experiments.records import write_records

        write_records(table, plan.measure, options.record, options.out.name)
    print(f"\n{options.out}/table.json, .md, .csv, .png; {table['seconds'] / 60:.1f} minutes")
    return table


def _read(options: argparse.Namespace) -> Plan:
    if not options.plan.is_file():
        known = sorted(p.stem.removeprefix("table1_") for p in PLAN.parent.glob("table1_*.yaml"))
        raise ConfigError(f"no plan {options.plan}; benchmarks: {', '.join(known)}")
    return read_plan(options.plan).only(options.columns, options.rows)


# Training


@dataclass(frozen=True)
class Training:
    """A run, what decides it, and the words of its command."""

    run: Run
    key: dict[str, Any]
    words: Sequence[str]

    @property
    def cell(self) -> Cell:
        """Its record."""
        return Cell(self.run.root / "cells" / f"{self.run.name}.json", self.key)


def run_of(row: TableRow, model: str, seed: int, options: argparse.Namespace) -> Run:
    """Return the run of a row, model and seed."""
    return Run(options.runs_root, f"{row.name}-{model}-seed{seed}")


def training_of(row: TableRow, model: str, seed: int, plan: Plan, options: argparse.Namespace) -> Training:
    """Return the run of a row, model and seed, what decides it, and the words of its command."""
    run = run_of(row, model, seed, options)
    if row.fit is not None:
        configs = [name.format(model=model) for name in ([row.fit] if isinstance(row.fit, str) else row.fit)]
        words = runs.fit_words(configs, run, seed, trainer=options.trainer)
        settings = resolved_settings(words)
        return Training(run, training_key(settings, versions_of(settings["model"]["class_path"])), words)
    source = run_of(plan.row(str(row.control)), model, seed, options)
    steps = runs.control_steps(source.stages(), int(source.settings()["trainer"]["val_check_interval"]))
    key = {"start": sha256(source.warmup_checkpoint), "max_steps": steps}
    return Training(run, key, runs.control_words(source, run, steps))


def make(training: Training) -> None:
    """Run a training, unless it is finished; go on with one that was interrupted."""
    run, cell = training.run, training.cell
    state, why = cell.state()
    print(f"{run.name}: {state}{why and f' ({why})'}", flush=True)
    if state == "finished" and run.folder.is_dir():
        return
    resumes = state == "interrupted" and run.last_checkpoint.is_file()
    cell.write(finished=False)
    runs.call(runs.resume_words(run) if resumes else training.words)
    cell.write(finished=True)


def versions_of(class_path: str) -> dict[str, int]:
    """Return the versions of a method, by its class path or class name, and of the world."""
    from dife_lightning.registry import get_method, list_methods
    from dife_lightning.world import WORLD_VERSION

    classes = {cls.__name__: cls for cls in (get_method(name) for name in list_methods())}
    cls = classes.get(class_path.rpartition(".")[2])
    return {"method": getattr(cls, "version", 1), "world": WORLD_VERSION}


# Testing


def test_all(plan: Plan, options: argparse.Namespace) -> dict[Key, Path]:
    """Test every row on its pairs; returns (row, model, seed) -> folder with its results."""
    folders: dict[Key, Path] = {}
    for row in plan.rows:
        if not row.trained:
            folder = _test(row, None, plan.pairs(), plan.measure, options)
            folders |= {(row.name, model, 0): folder for model in plan.models()}
            continue
        for model, pairs in plan.models().items():
            for seed in range(MOST_SEEDS):
                run = run_of(row, model, seed, options)
                if _is_current(row, model, seed, plan, options):
                    folders[row.name, model, seed] = _test(row, run, pairs, plan.measure, options)
    return folders


def _is_current(row: TableRow, model: str, seed: int, plan: Plan, options: argparse.Namespace) -> bool:
    """Return whether a run is finished and was made with today's settings; also for seeds that were not asked for."""
    if not run_of(row, model, seed, options).folder.is_dir():
        return False
    return training_of(row, model, seed, plan, options).cell.state()[0] == "finished"


def _test(row: TableRow, run: Run | None, pairs: Sequence[str], measure: Measure, options: argparse.Namespace) -> Path:
    """Test a trained run, or a method that needs no training, on some kinds of pairs, unless that is done already."""
    from dife_lightning import load
    from dife_lightning.loading import best_checkpoint
    from experiments.baselines import score

    folder = (options.runs_root / row.name if run is None else run.folder) / "eval" / "_".join(pairs)
    hashes = measure.pairs(pairs, options.count).list_hashes()["test"]
    module = load(run.folder) if run is not None else _untrained(row)
    checkpoint = None if run is None else best_checkpoint(run.folder)
    key = testing_key(checkpoint, row.arguments, hashes, versions_of(type(module).__name__))
    cell = Cell(folder / "cell.json", key)
    if cell.state()[0] != "finished":
        print(f"testing {row.name if run is None else run.name} on {', '.join(pairs)} ...", flush=True)
        score(row.name, module, measure.prepared(pairs, options.count), folder)
        cell.write(finished=True)
    return folder


def _untrained(row: TableRow) -> Any:
    from dife_lightning.registry import get_method, list_methods

    classes = {cls.__name__: cls for cls in (get_method(name) for name in list_methods())}
    if row.test not in classes:
        raise ConfigError(f"row '{row.name}': no method '{row.test}'. {did_you_mean(str(row.test), classes)}")
    return classes[row.test](**row.arguments)


if __name__ == "__main__":
    raise SystemExit(main())
