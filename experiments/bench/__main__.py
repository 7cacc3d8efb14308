"""How fast the parts are, and how much memory matching takes: ``python -m experiments.bench``.

Everything is measured in fp32 and in the precision that ``precision: auto`` chooses on this machine; this takes
a few minutes. Run it on an idle machine: another busy process makes all figures several times worse.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.environment import collect_environment
from dife_lightning.utils.files import write_json
from experiments.common.commands import guarded

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.bench.timing import Timing

#: Records that should be so many times as fast as the public reference code.
FAST = ("generator-64", "generator-128", "generator-256", "exploration-256", "encoder-step")
SPEEDUP = 4.0
#: Largest share of a plain loss's memory at 96 px that ours may take.
MEMORY_SHARE = 0.1
#: Largest share of a training step that may be spent outside networks.
OUTSIDE_SHARE = 0.1
#: Where the reference's seconds come from.
REFERENCE = "public code in fp32 on 2 idle cores with AMX, at another time"
#: Precision in the table.
SHORT = {"32-true": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
#: Load average from which the machine counts as busy before the start.
BUSY = 0.5


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # hides messages of the profiler
    options = parse(words)
    return guarded(lambda: bench(options), "nothing was written")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    add = parser.add_argument
    add("--only", type=lambda text: text.split(","), help="cases to measure, with commas; all by default")
    add("--repeats", type=int, default=5, help="timed calls of which the median is taken (%(default)s)")
    add("--seconds", type=float, default=5.0, help="start no further call after so long (%(default)s)")
    add("--threads", type=int, help="threads of torch; its own choice by default")
    add("--out", type=Path, default=Path("results/bench.json"), help="file of the results (%(default)s)")
    add("--small", action="store_true", help="tiny sizes, to check that everything runs")
    return parser.parse_args(words)


def bench(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for; returns what is in ``bench.json``."""
    _check(options)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before our own work is in it
    from rich.console import Console

    with threads(options.threads) as count:
        precisions, records = measure(options)
    verdicts = [] if options.small else goals(records)
    result = {
        "records": [{k: v for k, v in asdict(record).items() if v is not None} for record in records],
        "goals": [asdict(goal) for goal in verdicts],
        "reference": REFERENCE,
        "precisions": precisions,
        "settings": {"small": options.small, "repeats": options.repeats, "seconds": options.seconds, "threads": count},
        "load_before": load,
        **collect_environment(),
    }
    write_json(options.out, result)
    console = Console()
    console.print(results_table(records))
    print_summary(verdicts, console, load, any(record.ratio for record in records))
    console.print(f"\n{options.out}", soft_wrap=True)
    return result


def _check(options: argparse.Namespace) -> None:
    from experiments.bench.cases import CASES

    for name in options.only or ():
        if name not in CASES:
            raise ConfigError(f"--only: no case '{name}'. {did_you_mean(name, CASES)}")
    for name in ("repeats", "seconds", "threads"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} is {value}; it must be above 0")


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Let torch use ``count`` threads inside the block (None: as many as it does anyway); gives their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def measure(options: argparse.Namespace) -> tuple[dict[str, str], list[Timing]]:
    """Return precision -> why it is measured, and the records, case by case."""
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


# Goals


@dataclass(frozen=True)
class Goal:
    """A goal in words with its figures, and whether it was met."""

    text: str
    met: bool


def goals(records: Sequence[Timing]) -> list[Goal]:
    """Return the verdicts on what was measured; of the precisions, the best counts for speed and the worst else."""
    found: list[Goal] = []
    for name in FAST:
        ratios = [record.ratio for record in records if record.name == name and record.ratio]
        if ratios:
            text = f"{name}: {max(ratios):.1f} times as fast as the reference (goal: at least {SPEEDUP:g})"
            found.append(Goal(text, max(ratios) >= SPEEDUP))
    for name in ("matching-96", "dve-96"):
        shares = memory_shares(records, name)
        if shares:
            text = f"{name}: ours takes {max(shares):.1%} of the plain memory (goal: at most {MEMORY_SHARE:.0%})"
            found.append(Goal(text, max(shares) <= MEMORY_SHARE))
    for name in ("step-warmup", "step-matching"):
        outside = [record.outside_share for record in records if record.name == name and record.outside_share]
        if outside:
            text = f"{name}: {max(outside):.0%} of the time outside networks (goal: at most {OUTSIDE_SHARE:.0%})"
            found.append(Goal(text, max(outside) <= OUTSIDE_SHARE))
    return found


def memory_shares(records: Sequence[Timing], case: str) -> list[float]:
    """Return the ours loss's memory over the plain one's, for each precision."""
    memory = {(record.name, record.precision): record.memory_bytes for record in records if record.memory_bytes}
    precisions = [precision for name, precision in memory if name == f"{case}-plain"]
    return [memory[f"{case}-ours", p] / memory[f"{case}-plain", p] for p in precisions]


# Output


def results_table(records: Sequence[Timing]) -> Table:
    """Return the table, a record a line; it fits into 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(title="Benchmark", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("what", no_wrap=True)
    for column in ("in", "seconds", "rate", "reference", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records:
        about = "~" if record.estimated else ""
        more = None if record.memory_bytes is None else about + _bytes(record.memory_bytes)
        ratio = None if record.ratio is None else f"{record.reference_seconds:g} s {record.ratio:5.1f}x"
        rate = None if record.rate is None else f"{_number(record.rate)} {record.what}"
        more = more if record.outside_share is None else f"{record.outside_share:.0%} outside"
        seconds = about + _number(record.seconds)
        table.add_row(record.name, SHORT[record.precision], seconds, rate, ratio, more)
    if any(record.estimated for record in records):
        table.caption = "~ from one pair, for want of memory"
    return table


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _bytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def print_summary(verdicts: Sequence[Goal], console: Any, load: float, compared: bool) -> None:
    """Print which goals are met, and what the figures cannot say."""
    from rich.text import Text

    console.print("\nGoals:" if verdicts else "\nGoals: none was measured", style="bold")
    for goal in verdicts:
        mark, style = ("✓", "green") if goal.met else ("✗", "red")
        console.print(Text.assemble((f"  {mark} ", style), goal.text), soft_wrap=True)
    if compared:
        text = (
            "The reference is public code in fp32 on 2 idle cores with AMX; elsewhere a ratio compares machines, too."
        )
        console.print(text, style="dim", soft_wrap=True)
    if load > BUSY:
        text = f"The load average was {load:.1f} before the start: the machine was busy and the seconds are too long."
        console.print(text, style="yellow", soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
