"""How fast the parts are, and how much memory matching takes: ``python -m experiments.bench``.

Everything is measured in fp32 and in the precision that ``precision: auto`` chooses on this machine; this takes
a few minutes. Run it on an idle machine: another busy process makes all figures several times worse.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import ConfigError
from dife_lightning.utils.environment import collect_environment
from dife_lightning.utils.files import write_json
from experiments.common.commands import guarded
from experiments.common.options import names
from experiments.common.plan import check_names

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.bench.timing import Timing

#: Cases that should be so many times as fast as the public reference code.
FAST, SPEEDUP = ("generator-64", "generator-128", "generator-256", "exploration-256", "encoder-step"), 4.0
#: Largest share of a plain loss's memory at 96 px that ours may take.
MEMORY_SHARE = 0.1
#: Largest share of a training step that may be spent outside networks.
OUTSIDE_SHARE = 0.1
#: Where the reference's seconds come from.
REFERENCE = "public code in fp32 on 2 idle cores with AMX, at another time"
#: Precision in the table.
SHORT = {"32-true": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
#: Load average above which the machine counts as busy.
BUSY = 0.5


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit code."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # hides messages of the profiler
    options = parse(words)
    return guarded(lambda: bench(options), "nothing was written")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    add = parser.add_argument
    add("--only", type=names, help="cases to measure, separated by commas; default: all")
    add("--repeats", type=int, default=5, help="timed calls of which the median is taken (%(default)s)")
    add("--seconds", type=float, default=5.0, help="start no further call after this many seconds (%(default)s)")
    add("--threads", type=int, help="threads of torch; default: its own choice")
    add("--out", type=Path, default=Path("results/bench.json"), help="file of the results (%(default)s)")
    add("--small", action="store_true", help="tiny sizes, to check that everything runs")
    return parser.parse_args(words)


def bench(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for; returns what is in ``bench.json``.

    Raises:
        ConfigError: an unknown case, or a number that is not above 0.
    """
    import torch
    from rich.console import Console

    from experiments.bench.cases import CASES

    check_names("--only: no case {}", options.only, CASES)
    for name in ("repeats", "seconds", "threads"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} is {value}; it must be above 0")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before our own work is in it
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads or before)
    try:
        threads, (precisions, records) = torch.get_num_threads(), measure(options)
    finally:
        torch.set_num_threads(before)
    verdicts = [] if options.small else goals(records)
    result = {
        "records": [{k: v for k, v in asdict(record).items() if v is not None} for record in records],
        "goals": [asdict(goal) for goal in verdicts],
        "reference": REFERENCE,
        "precisions": precisions,
        "settings": {key: getattr(options, key) for key in ("small", "repeats", "seconds")} | {"threads": threads},
        "load_before": load,
        **collect_environment(),
    }
    write_json(options.out, result)
    console = Console()
    console.print(results_table(records))
    print_summary(verdicts, console, load, any(record.ratio for record in records))
    console.print(f"\n{options.out}", soft_wrap=True)
    return result


def measure(options: argparse.Namespace) -> tuple[dict[str, str], list[Timing]]:
    """Return precision -> why it is measured, and the timings, case by case."""
    import torch

    from dife_lightning.running.precision import probe_precision
    from experiments.bench.cases import CASES, ONCE
    from experiments.bench.timing import FP32, Conditions

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = probe_precision()
    precisions = {FP32: "the reference's precision"} | {chosen.name: chosen.reason}
    records: list[Timing] = []
    for name in [name for name in CASES if options.only is None or name in options.only]:
        for precision in [FP32] if name in ONCE else precisions:
            print(f"{name}, {precision} ...", flush=True)
            records += CASES[name](Conditions(device, precision, options.small, options.repeats, options.seconds))
    return precisions, records


@dataclass(frozen=True)
class Goal:
    """A goal in words with the measured figure, and whether it was met."""

    text: str
    met: bool


def goals(records: Sequence[Timing]) -> list[Goal]:
    """Return which goals were met. The fastest precision counts for speed, the worst one for the other goals."""

    def values(name: str, field: str) -> list[float]:
        return [value for record in records if record.name == name and (value := getattr(record, field))]

    found: list[Goal] = []
    for name in FAST:
        for best in sorted(values(name, "ratio"))[-1:]:
            text = f"{name}: {best:.1f} times as fast as the reference (goal: at least {SPEEDUP:g})"
            found.append(Goal(text, best >= SPEEDUP))
    for name in ("matching-96", "dve-96"):
        memory = zip(values(f"{name}-ours", "memory_bytes"), values(f"{name}-plain", "memory_bytes"), strict=True)
        for worst in sorted(ours / plain for ours, plain in memory)[-1:]:
            text = f"{name}: ours takes {worst:.1%} of the plain memory (goal: at most {MEMORY_SHARE:.0%})"
            found.append(Goal(text, worst <= MEMORY_SHARE))
    for name in ("step-warmup", "step-matching"):
        for worst in sorted(values(name, "outside_share"))[-1:]:
            text = f"{name}: {worst:.0%} of the time outside networks (goal: at most {OUTSIDE_SHARE:.0%})"
            found.append(Goal(text, worst <= OUTSIDE_SHARE))
    return found


def results_table(records: Sequence[Timing]) -> Table:
    """Return the table with one line per timing; it fits into 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(title="Benchmark", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("what", no_wrap=True)
    for column in ("in", "seconds", "rate", "reference", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records:
        about = "~" if record.estimated else ""
        more = None if record.memory_bytes is None else f"{about}{record.memory_bytes / 2**20:.1f} MiB"
        more = more if record.outside_share is None else f"{record.outside_share:.0%} outside"
        ratio = None if record.ratio is None else f"{record.reference_seconds:g} s {record.ratio:5.1f}x"
        rate = None if record.rate is None else f"{_number(record.rate)} {record.what}"
        table.add_row(record.name, SHORT[record.precision], about + _number(record.seconds), rate, ratio, more)
    if any(record.estimated for record in records):
        table.caption = "~ measured on one pair and multiplied, to save memory"
    return table


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_summary(verdicts: Sequence[Goal], console: Any, load: float, compared: bool) -> None:
    """Print which goals were met, and warn where the figures can mislead."""
    from rich.text import Text

    console.print("\nGoals:" if verdicts else "\nGoals: none was measured", style="bold")
    for goal in verdicts:
        mark, style = ("✓", "green") if goal.met else ("✗", "red")
        console.print(Text.assemble((f"  {mark} ", style), goal.text), soft_wrap=True)
    if compared:
        text = "The reference is public code in fp32 on 2 idle cores with AMX; on another machine a ratio also compares"
        console.print(f"{text} the machines.", style="dim", soft_wrap=True)
    if load > BUSY:
        text = f"The load average was {load:.1f} before the start: the machine was busy and the seconds are too long."
        console.print(text, style="yellow", soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
