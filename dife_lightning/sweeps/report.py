"""What a sweep came to: a table on the screen, ``sweep.csv``, ``sweep.md`` and the pictures."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dife_lightning.sweeps.definition import Sweep, as_text
from dife_lightning.sweeps.importance import Importance, chance_level, importances
from dife_lightning.sweeps.objective import ranked
from dife_lightning.sweeps.records import SweepFolder, Trial
from dife_lightning.sweeps.space import short_names
from dife_lightning.utils.files import atomic_write


def write_report(sweep: Sweep, folder: SweepFolder, trials: Sequence[Trial], more: Sequence[str] = ()) -> list[Path]:
    """Write all result files of a sweep with at least one finished trial and return their paths."""
    from dife_lightning.sweeps.pictures import draw

    order = in_order(sweep, trials)
    names = short_names([parameter.name for parameter in sweep.parameters])
    found = importances(sweep, order)
    pictures = draw(sweep, folder.path, order, found)
    _write_csv(folder.path / "sweep.csv", sweep, order)
    _write_markdown(folder.path / "sweep.md", sweep, order, names, found, pictures, more)
    return [folder.path / "sweep.csv", folder.path / "sweep.md", *pictures]


def in_order(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    """Return all trials, the best first, those without an objective last."""
    return ranked(sweep, trials) + [trial for trial in trials if trial.objective is None]


def winner_command(sweep: Sweep, best: Trial, more: Sequence[str] = ()) -> str:
    """Return the command that trains the winner again."""
    return f"dife {shlex.join(sweep.command(best.parameters, more))}"


def print_table(sweep: Sweep, trials: Sequence[Trial], console: Console | None = None) -> None:
    """Print the trials, the best first."""
    console = console or Console()
    names = short_names([parameter.name for parameter in sweep.varying])
    table = Table(caption=f"{sweep.metric}: {_lower(sweep)} is better", padding=(0, 0))
    table.add_column("trial", justify="right")
    for name in names.values():
        table.add_column(name, justify="right", overflow="fold")
    for name in (sweep.metric, "step", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, trial in enumerate(in_order(sweep, trials)):
        values = [_cell(trial.parameters[name]) for name in names]
        style = "bold" if place == 0 and trial.objective is not None else "dim" if trial.objective is None else None
        table.add_row(str(trial.number), *values, _reached(trial), _step(trial), f"{trial.seconds:.0f} s", style=style)
    console.print(table)


def _write_csv(path: Path, sweep: Sweep, order: Sequence[Trial]) -> None:
    keys = [parameter.name for parameter in sweep.parameters]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", sweep.metric, "step", "seconds", *keys, "message"])
        for trial in order:
            values = [as_text(trial.parameters[key]) for key in keys]
            reached = ["" if value is None else value for value in (trial.objective, trial.step)]
            writer.writerow([trial.number, trial.state, *reached, trial.seconds, *values, trial.message])


def _write_markdown(
    path: Path,
    sweep: Sweep,
    order: Sequence[Trial],
    names: dict[str, str],
    found: Sequence[Importance],
    pictures: Sequence[Path],
    more: Sequence[str],
) -> None:
    done = [trial for trial in order if trial.objective is not None]
    varying = [parameter.name for parameter in sweep.varying]
    lines = [f"# Sweep: {', '.join(names[name] for name in varying) or 'nothing varies'}", ""]
    count = f"{len(done)} of {len(order)} trials" if len(done) < len(order) else f"{len(done)} trials"
    lines += [
        f"Method {sweep.method}, {count}; `{sweep.metric}`, best over a run's validations, {_lower(sweep)} is",
        "",
    ]
    lines[-2] += f" better. The best, trial {done[0].number}, trained again:"
    lines += ["```sh", winner_command(sweep, done[0], more), "```", ""]
    head = ["trial", *(names[name] for name in varying), sweep.metric, "step", "time"]
    lines += _markdown_row(head) + _markdown_row(["---:"] * len(head))
    for trial in order:
        values = [_cell(trial.parameters[name]) for name in varying]
        lines += _markdown_row([trial.number, *values, _reached(trial), _step(trial), f"{trial.seconds:.0f} s"])
    lines += [
        "",
        *(f"![{picture.stem}]({picture.name})" for picture in pictures),
        "",
        *_weights(found, names, len(done)),
    ]
    lines += [f"- trial {trial.number} failed: {trial.message}" for trial in order if trial.state == "failed"]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _weights(found: Sequence[Importance], names: dict[str, str], count: int) -> list[str]:
    """Return the table of importances and how to read it."""
    if not found:
        return []
    lines = _markdown_row(["parameter", "rank correlation", "range of means"]) + _markdown_row(["---", "---:", "---:"])
    for one in sorted(found, key=lambda one: -abs(one.spearman or 0.0)):
        spearman = "" if one.spearman is None else f"{one.spearman:+.2f}"
        means = "" if one.range_of_means is None else f"{one.range_of_means:.3g}"
        lines += _markdown_row([names[one.name], spearman, means])
    level = chance_level(count)
    told = "" if level is None else f" With {count} trials chance alone exceeds ±{level:.2f} once in twenty times."
    middle = " A parameter whose best value lies in the middle has a small one: look at the picture."
    return [*lines, "", f"Rank correlation (Spearman) of the parameter with the objective.{told}{middle}", ""]


def _markdown_row(cells: Sequence[Any]) -> list[str]:
    return [f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"]


def _lower(sweep: Sweep) -> str:
    return "lower" if sweep.goal == "minimize" else "higher"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)


def _reached(trial: Trial) -> str:
    return trial.state if trial.objective is None else f"{trial.objective:.4g}"


def _step(trial: Trial) -> str:
    return "" if trial.step is None else str(trial.step)
