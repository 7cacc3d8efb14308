"""Options that the commands about tables share: which plan, which of its rows and pairs, and where its runs lie."""

from __future__ import annotations

import argparse
from pathlib import Path

from dife_lightning.errors import ConfigError, did_you_mean
from experiments.common.plan import PLANS, Plan, read_plan


def names(text: str) -> list[str]:
    """Read a list of names with commas."""
    return text.split(",")


def table_options() -> argparse.ArgumentParser:
    """Return the parent parser of the commands that read a table's plan and runs."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--benchmark", help="mafl_ap10k or wflw_animalweb: the table on your own photographs (docs/real_data.md)")
    add("--plan", type=Path, help="file of the plan (experiments/tables/plans/<table>.yaml, or the benchmark's)")
    add("--runs_root", type=Path, help="folder of the table's runs (runs/tables, or runs/<benchmark>)")
    add("--rows", type=names, help="rows of the table, with commas; all by default")
    return parser


def pair_options() -> argparse.ArgumentParser:
    """Return the parent parser of the commands that look at some kinds of pair."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--pairs", type=names, help="kinds of pair, with commas, such as human+dog; all by default")
    return parser


def full_name(table: str, options: argparse.Namespace) -> str:
    """Return the name of a table, with that of the benchmark behind it."""
    return f"{table}_{options.benchmark}" if options.benchmark else table


def plan_of(table: str, options: argparse.Namespace) -> Plan:
    """Read the plan of a table.

    Raises:
        ConfigError: there is no such plan.
    """
    name = full_name(table, options)
    path = options.plan or PLANS / f"{name}.yaml"
    if not path.is_file():
        plans = sorted(p.stem for p in PLANS.glob("*.yaml"))
        benchmarks = [plan.removeprefix(f"{table}_") for plan in plans if plan.startswith(f"{table}_")]
        known = f"; benchmarks: {', '.join(benchmarks)}" if options.benchmark else f". {did_you_mean(path.stem, plans)}"
        raise ConfigError(f"no plan {path}{known}")
    return read_plan(path)


def runs_root_of(options: argparse.Namespace) -> Path:
    """Return the folder of the table's runs."""
    return options.runs_root or Path("runs") / (options.benchmark or "tables")
