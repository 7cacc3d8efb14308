"""The results of a sweep: a table on the screen, ``sweep.csv``, ``sweep.md`` and Optuna's plots."""

from __future__ import annotations

import csv
import math
import shlex
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib.ticker import LogLocator, NullFormatter
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from dife_lightning.sweeps.definition import Sweep, as_text
from dife_lightning.sweeps.study import ranked
from dife_lightning.utils.files import atomic_buffer, atomic_write

_STATES = {TrialState.COMPLETE: "done", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}
_READING = "A parameter whose best value lies in the middle has a small correlation: look at the pictures."


def winner_command(sweep: Sweep, best: FrozenTrial, more: Sequence[str] = ()) -> str:
    """Return the command that trains the winner again."""
    return f"dife {shlex.join(sweep.command(best.params, more))}"


def write_report(sweep: Sweep, folder: Path, trials: Sequence[FrozenTrial], more: Sequence[str] = ()) -> list[Path]:
    """Print all trials, the best first, write the result files into ``folder``, and return their paths.

    At least one trial has finished; ``more`` are the words that each `dife fit` was given.
    """
    done = ranked(sweep, trials)
    order = [*done, *(trial for trial in trials if trial.state != TrialState.COMPLETE)]
    better = "lower" if sweep.goal == "minimize" else "higher"
    head = ["trial", *sweep.varying.values(), sweep.metric, "step", "time"]
    rows = [_row(sweep, trial) for trial in order]
    table = Table(*head, caption=f"{sweep.metric}: {better} is better", padding=(0, 0))
    for row, trial in zip(rows, order, strict=True):
        table.add_row(*row, style="bold" if trial is done[0] else "dim" if trial.value is None else None)
    for column in table.columns:
        column.justify = "right"
    Console().print(table)
    _write_csv(folder / "sweep.csv", sweep, order)
    pictures = draw(sweep, folder, done)
    count = f"{len(done)} of {len(order)} trials" if len(done) < len(order) else f"{len(done)} trials"
    lines = [
        f"# Sweep: {', '.join(sweep.varying.values()) or 'nothing varies'}\n",
        f"Method {sweep.method}, {count}; `{sweep.metric}`, best over a run's validations, {better} is better.",
        f"The best, trial {done[0].number}, trained again:",
        f"```sh\n{winner_command(sweep, done[0], more)}\n```\n",
        *_markdown(head, rows),
        *(f"![{picture.stem}]({picture.name})" for picture in pictures),
        *_influence(sweep, done),
        *(f"- trial {t.number} failed: {t.user_attrs['message']}" for t in order if t.state == TrialState.FAIL),
    ]
    with atomic_write(folder / "sweep.md") as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return [folder / "sweep.csv", folder / "sweep.md", *pictures]


def _row(sweep: Sweep, trial: FrozenTrial) -> list[str]:
    values = [trial.params[name] for name in sweep.varying]
    cells = [f"{value:.4g}" if isinstance(value, float) else as_text(value) for value in values]
    reached = _STATES[trial.state] if trial.value is None else f"{trial.value:.4g}"
    seconds = f"{trial.user_attrs.get('seconds', 0):.0f} s"
    return [str(trial.number), *cells, reached, str(trial.user_attrs.get("step", "")), seconds]


def _write_csv(path: Path, sweep: Sweep, order: Iterable[FrozenTrial]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", sweep.metric, "step", "seconds", *sweep.parameters, "message"])
        for trial in order:
            *known, message = (trial.user_attrs.get(key, "") for key in ("step", "seconds", "message"))
            values = [as_text(trial.params[name]) for name in sweep.parameters]
            writer.writerow([trial.number, _STATES[trial.state], trial.value, *known, *values, message])


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---:"] * len(head), *rows]
    return [*(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines), ""]


def _influence(sweep: Sweep, done: Sequence[FrozenTrial]) -> list[str]:
    """Return the table of the parameters' rank correlations with the objective, and how to read it."""
    if not sweep.varying:
        return []
    rows, reached = [], [trial.values[0] for trial in done]
    for name, short in sweep.varying.items():
        rho = rank_correlation([trial.params[name] for trial in done], reached)
        rows.append([short, "" if rho is None else f"{rho:+.2f}"])
    notes = ["Rank correlation (Spearman) of the parameter with the objective."]
    if len(done) > 4:
        chance = 1.96 / math.sqrt(len(done) - 1)  # of the normal distribution that it approaches
        notes.append(f"With {len(done)} trials chance alone exceeds ±{chance:.2f} once in twenty times.")
    return ["", *_markdown(["parameter", "rank correlation"], rows), " ".join([*notes, _READING]), ""]


def rank_correlation(left: Sequence[Any], right: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None for fewer than three values, equal ones, or ones without an order."""
    ordered = all(isinstance(value, int | float) and not isinstance(value, bool) for value in left)
    varied = len(left) > 2 and len(set(left)) > 1 and len(set(right)) > 1
    return float(spearmanr(left, right).statistic) if ordered and varied else None


def draw(sweep: Sweep, folder: Path, done: Sequence[FrozenTrial]) -> list[Path]:
    """Draw Optuna's plots of finished trials into ``folder`` and return their paths."""
    names = {n: short for n, short in sweep.varying.items() if len({trial.params[n] for trial in done}) > 1}
    if not names:
        return []
    study = optuna.create_study(direction=sweep.goal)  # of the varying parameters only, by short names
    for trial in sorted(done, key=lambda trial: trial.number):
        params, space = ({names[n]: one[n] for n in names} for one in (trial.params, sweep.space))
        study.add_trial(create_trial(params=params, distributions=space, value=trial.value))
    best = PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, 5 / len(done))))  # five trials, as advised
    target: dict[str, Any] = {"target_name": sweep.metric}
    plots = {"history": ("optimization_history", target), "slices": ("slice", target)}
    if len(names) > 1:
        first_two = list(get_param_importances(study, evaluator=best))[:2]
        plots["importances"] = ("param_importances", {"evaluator": best})
        plots["contour"] = ("contour", {"params": first_two, **target})
    return [_picture(folder / f"{name}.png", plot, study, options) for name, (plot, options) in plots.items()]


def _picture(path: Path, plot: str, study: optuna.Study, options: dict[str, Any]) -> Path:
    matplotlib.use("agg")  # Optuna draws with pyplot; open no window
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    with warnings.catch_warnings(), matplotlib.rc_context():  # a plot sets the style of all that follow
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        axes = np.ravel(getattr(plots, f"plot_{plot}")(study, **options))
        for axis in (axis for one in axes for axis in (one.xaxis, one.yaxis) if axis.get_scale() == "log"):
            axis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        with atomic_buffer(path) as buffer:
            axes[0].figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        pyplot.close(axes[0].figure)
    return path
