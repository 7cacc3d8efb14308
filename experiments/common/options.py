"""Options that the commands about tables share, and facts that their results record."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.environment import collect_environment
from experiments.common.plan import PLANS, Plan, read_plan


def names(text: str) -> list[str]:
    """Read names separated by commas."""
    return text.split(",")


def table_parser(prog: str, description: str | None, *, pairs: bool = False) -> argparse.ArgumentParser:
    """Return the parser of a command that reads a table's plan and runs.

    Args:
        prog: name of the command.
        description: its help text.
        pairs: add ``--pairs``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{prog}", description=description)
    add = parser.add_argument
    add(
        "--benchmark",
        help="table on photographs: photos (docs/photos.md), mafl_ap10k or wflw_animalweb (docs/real_data.md)",
    )
    add("--plan", type=Path, help="file of the plan; default: experiments/tables/plans/<table>.yaml or the benchmark's")
    add("--runs_root", type=Path, help="folder of the table's runs; default: runs/tables or runs/<benchmark>")
    add("--rows", type=names, help="rows of the table, separated by commas; default: all")
    if pairs:
        add("--pairs", type=names, help="kinds of pair, separated by commas, such as human+dog; default: all")
    return parser


def full_name(table: str, options: argparse.Namespace) -> str:
    """Return the name of a table, followed by that of the benchmark if there is one."""
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


def recorded_facts() -> dict[str, Any]:
    """Return the facts about this machine that every result records."""
    facts = collect_environment()
    return {key: facts[key] for key in ("commit", "dirty", "versions", "machine", "time")}
