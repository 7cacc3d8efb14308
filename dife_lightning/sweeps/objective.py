"""What a trial reached: the best value of the metric in its run's ``metrics.csv``."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from dife_lightning.errors import DataError, DifeError, did_you_mean
from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.records import Trial


class MissingMetric(DifeError):
    """A run was trained to its end and never logged the metric."""


def best_value(path: Path, sweep: Sweep) -> tuple[float, int]:
    """Return the best value of the sweep's metric and the step that it was logged at.

    Args:
        path: ``metrics.csv`` of a run.
        sweep: names the metric and what is good.

    Raises:
        MissingMetric: there is no such column.
        DataError: no such file, or no finite value in it.
    """
    if not path.is_file():
        raise DataError(f"no {path.name} in the run's folder")
    best: tuple[float, int] | None = None
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = [name for name in reader.fieldnames or () if name not in ("step", "epoch")]
        if sweep.metric not in names:
            raise MissingMetric(f"the run logged no '{sweep.metric}'. {did_you_mean(sweep.metric, _plain(names))}")
        for row in reader:
            value = _number(row[sweep.metric])
            if math.isfinite(value) and (best is None or sweep.better(value, best[0])):
                best = value, int(row["step"])
    if best is None:
        raise DataError(f"'{sweep.metric}' was never a finite number")
    return best


def ranked(sweep: Sweep, trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that have an objective, the best first; of two alike the earlier one."""
    sign = 1 if sweep.goal == "minimize" else -1
    found = [(sign * trial.reached, trial.number, trial) for trial in trials if trial.objective is not None]
    return [trial for _, _, trial in sorted(found, key=lambda one: one[:2])]


def _plain(names: list[str]) -> list[str]:
    """Return the names that are good for a message: not those of each pair and landmark."""
    return [name for name in names if name.count("/") < 2]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
