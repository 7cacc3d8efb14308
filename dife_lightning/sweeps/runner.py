"""Runs the trials of a sweep: several at a time, each in a process, resumed where an earlier command stopped."""

from __future__ import annotations

import csv
import math
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from dife_lightning.errors import DataError, Interrupted, UsageError, did_you_mean
from dife_lightning.running.locks import RunLock
from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.launch import GRACE, POLL, Child, Launch, environment_of, launch_fit, stop
from dife_lightning.sweeps.study import Outcome, SweepFolder, ranked, suggest


class MissingMetric(DataError):
    """A run finished and never logged the metric."""


def todo(trials: Sequence[FrozenTrial], count: int, retry: bool = False) -> list[FrozenTrial | None]:
    """Return what ``count`` trials lack: interrupted ones, failed ones if ``retry``, and None for each new one."""
    states = (TrialState.RUNNING, TrialState.FAIL) if retry else (TrialState.RUNNING,)
    return [trial for trial in trials[:count] if trial.state in states] + [None] * (count - len(trials))


@dataclass
class _Running:
    number: int
    child: Child
    started: float
    offset: int  # where its output begins in the log file


@dataclass
class Runner:
    """Runs the trials of a sweep until there are enough."""

    sweep: Sweep
    folder: SweepFolder
    seed: int = 0
    more: Sequence[str] = ()  # words for each `dife fit`
    parallel: int = 1  # trials at a time
    launch: Launch = launch_fit
    log: Callable[[str], None] = print  # receives a line when a trial starts and when it ends
    poll_seconds: float = POLL
    _running: list[_Running] = field(default_factory=list)

    def run(self, missing: Sequence[FrozenTrial | None], count: int) -> None:
        """Run the trials ``missing`` of ``count``, as :func:`todo` lists them.

        Raises:
            Interrupted: a signal came; running trials are stopped, and resumed by the next command.
            UsageError: the first trial that finished has not logged the metric, so no trial will.
        """
        waiting = list(missing)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.parallel:
                    self._start(waiting.pop(0), count)
                time.sleep(self.poll_seconds)
                for one in [one for one in self._running if one.child.poll() is not None]:
                    self._running.remove(one)
                    self._report(one, count)
        except (Interrupted, KeyboardInterrupt):
            if self._running:
                self.log(f"waiting for {len(self._running)} running to write checkpoints; Ctrl-C again hurries them")
            raise
        finally:
            stop([one.child for one in self._running], self.poll_seconds)
            for one in self._running:  # one that had just finished is recorded, the others are resumed later
                self._record(one, interrupted=one.child.poll() != 0)
            self._running = []

    def _start(self, found: FrozenTrial | None, count: int) -> None:
        """Start a new trial, or ``found``: from its last checkpoint if it was interrupted, anew if it failed."""
        if found is None:
            trials = self.folder.trials()
            found = self.folder.add(self.sweep, suggest(self.sweep, len(trials), self.seed, trials))
        elif found.state == TrialState.FAIL:
            found = self.folder.add(self.sweep, found.params, again=found.number)
        run, log_file = self.folder.run(found.number), self.folder.log_file(found.number)
        if run.path.is_dir():  # a killed sweep may have left a process that writes its checkpoint
            RunLock(run.path, option="--name", seconds=GRACE).release()
        words, how = ["--run", run.name, "--runs_root", str(run.root)], "resumed"
        if run.last_checkpoint.is_file():
            words += ["--ckpt_path", "last"]
        else:
            shutil.rmtree(run.path, ignore_errors=True)
            how = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in found.params.items())
        words = self.sweep.command(found.params, [*self.more, *words])
        offset = log_file.stat().st_size if log_file.is_file() else 0
        child = self.launch(words, log_file, environment_of(self.parallel, self.folder.path.name))
        self._running.append(_Running(found.number, child, time.monotonic(), offset))
        self.log(f"trial {found.number} of {count}: {how}")

    def _report(self, one: _Running, count: int) -> None:
        """Record a trial that has ended, and say what it reached."""
        outcome = self._record(one)
        order = ranked(self.sweep, self.folder.trials())
        if isinstance(outcome, tuple):
            best = "the best so far" if order[0].number == one.number else f"the best is trial {order[0].number}"
            told = f"{self.sweep.metric} {outcome[0]:.4g} at step {outcome[1]}, {best}"
        else:
            told = f"failed: {outcome}"
        self.log(f"trial {one.number} of {count}: {told}")
        if isinstance(outcome, MissingMetric) and not order:
            raise UsageError(f"metric.name: {outcome} Correct it in the file, and choose another --name.")

    def _record(self, one: _Running, interrupted: bool = False) -> Outcome | None:
        """Store how a trial ended, and return it."""
        code = one.child.poll()
        outcome: Outcome | None = None
        if code and not interrupted:
            outcome = _failure(self.folder.log_file(one.number), one.offset, code)
        elif not interrupted:
            outcome = best_value(self.folder.run(one.number).log, self.sweep)
        self.folder.record(one.number, time.monotonic() - one.started, outcome)
        return outcome


def best_value(path: Path, sweep: Sweep) -> Outcome:
    """Return the best value of the sweep's metric in a run's ``metrics.csv``, with its step, or why there is none."""
    if not path.is_file():
        return DataError(f"no {path.name} in the run's folder")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, names = list(reader), [name for name in reader.fieldnames or () if name not in ("step", "epoch")]
    if sweep.metric not in names:
        short = [name for name in names if name.count("/") < 2]  # without those of each pair and landmark
        return MissingMetric(f"the run logged no '{sweep.metric}'. {did_you_mean(sweep.metric, short)}")
    try:
        found = [(float(row[sweep.metric]), int(row["step"])) for row in rows if row[sweep.metric]]
    except (ValueError, TypeError):
        return DataError(f"{path.name} in the run's folder is damaged")
    finite = [one for one in found if math.isfinite(one[0])]
    if not finite:
        return DataError(f"'{sweep.metric}' was never a finite number")
    return min(finite, key=lambda one: sweep.loss(one[0]))


def _failure(log_file: Path, offset: int, code: int) -> DataError:
    """Return why a trial failed: its signal, or the line in its output after ``offset``, where this attempt begins."""
    if code < 0:
        return DataError(f"ended by {signal.Signals(-code).name}")
    text = log_file.read_bytes()[offset:].decode("utf-8", errors="replace") if log_file.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return DataError((errors or lines or [f"exit code {code}"])[-1].removeprefix("error: "))
