"""Running the trials of a sweep: several at a time, each in a process, and on from where an earlier command stopped."""

from __future__ import annotations

import contextlib
import csv
import math
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from dife_lightning.errors import DataError, DifeError, Interrupted, UsageError, did_you_mean
from dife_lightning.running.folders import LAST
from dife_lightning.running.locks import RunLock
from dife_lightning.sweeps.definition import Sweep, check
from dife_lightning.sweeps.launch import GRACE, POLL, Child, Launch, environment_of, launch_fit, stop
from dife_lightning.sweeps.study import SweepFolder, ranked, suggest

#: The best value of a run and its step, or why there is none.
Outcome = tuple[float, int] | DifeError


class MissingMetric(DifeError):
    """A run was trained to its end and never logged the metric."""


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
            Interrupted: a signal came; running trials are ended, and go on with the next command.
            UsageError: the first trial that ends shows that no trial logs the metric.
        """
        waiting = list(missing)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.parallel:
                    self._start(waiting.pop(0), count)
                time.sleep(self.poll_seconds)
                self._poll(count)
        except (Interrupted, KeyboardInterrupt):
            if self._running:
                self.log(f"waiting for {len(self._running)} running to write checkpoints; Ctrl-C again hurries them")
            raise
        finally:
            self._suspend()

    def _start(self, found: FrozenTrial | None, count: int) -> None:
        """Start a new trial, or ``found``: from its last checkpoint if it was interrupted, anew if it failed."""
        if found is None:
            trials = self.folder.trials()
            found = self.folder.add(self.sweep, suggest(self.sweep, len(trials), self.seed, trials))
        elif found.state == TrialState.FAIL:
            found = self.folder.add(self.sweep, found.params, again=found.number)
        run, log_file = self.folder.run(found.number), self.folder.log_file(found.number)
        self._wait_for_orphan(run, log_file)
        words, how = ["--run", run.name, "--runs_root", str(run.parent)], "goes on"
        if (run / "checkpoints" / LAST).is_file():
            words += ["--ckpt_path", "last"]
        else:
            shutil.rmtree(run, ignore_errors=True)
            how = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in found.params.items())
        words = self.sweep.command(found.params, [*self.more, *words])
        offset = log_file.stat().st_size if log_file.is_file() else 0
        child = self.launch(words, log_file, environment_of(self.parallel, self.folder.path.name))
        self._running.append(_Running(found.number, child, time.monotonic(), offset))
        self.log(f"trial {found.number} of {count}: {how}")

    def _wait_for_orphan(self, run: Path, log_file: Path) -> None:
        """Wait for a process that a killed sweep left behind; it may be writing the checkpoint of this trial."""
        until = time.monotonic() + GRACE
        while run.is_dir():
            with contextlib.suppress(UsageError):
                return RunLock(run).release()
            left = f"a process that an earlier `dife sweep` left behind still trains {run}"
            check(time.monotonic() <= until, f"{left}; wait for it or end it (see {log_file}), then try again.")
            time.sleep(self.poll_seconds)
        return None

    def _poll(self, count: int) -> None:
        """Record the trials that have ended."""
        for one in list(self._running):
            code = one.child.poll()
            if code is None:
                continue
            self._running.remove(one)
            outcome = self._record(one, code)
            order = ranked(self.sweep, self.folder.trials())
            if isinstance(outcome, DifeError):
                told = f"failed: {outcome}"
            else:
                best = "the best so far" if order[0].number == one.number else f"the best is trial {order[0].number}"
                told = f"{self.sweep.metric} {outcome[0]:.4g} at step {outcome[1]}, {best}"
            self.log(f"trial {one.number} of {count}: {told}")
            none = isinstance(outcome, MissingMetric) and not order
            check(not none, f"metric.name: {outcome} Correct it in the file, and choose another --name.")

    def _record(self, one: _Running, code: int) -> Outcome:
        """Write down how a trial ended, and return it."""
        number, metrics = one.number, self.folder.run(one.number) / "metrics.csv"
        outcome = _failure(self.folder.log_file(number), one.offset, code) if code else best_value(metrics, self.sweep)
        self.folder.spend(number, time.monotonic() - one.started)
        if isinstance(outcome, DifeError):
            self.folder.note(number, message=str(outcome))
            self.folder.study.tell(number, state=TrialState.FAIL)
        else:
            self.folder.note(number, step=outcome[1])
            self.folder.study.tell(number, outcome[0])
        return outcome

    def _suspend(self) -> None:
        """End the running trials, and record those that had just finished; the others go on with the next command."""
        stop([one.child for one in self._running], self.poll_seconds)
        for one in self._running:
            if one.child.poll() == 0:
                self._record(one, 0)
            else:
                self.folder.spend(one.number, time.monotonic() - one.started)
        self._running = []


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


def _failure(log_file: Path, offset: int, code: int) -> DifeError:
    """Return why a trial failed: its signal, or the line in its output after ``offset``, where this attempt begins."""
    if code < 0:
        return DataError(f"ended by {signal.Signals(-code).name}")
    text = log_file.read_bytes()[offset:].decode("utf-8", errors="replace") if log_file.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return DataError((errors or lines or [f"exit code {code}"])[-1].removeprefix("error: "))
