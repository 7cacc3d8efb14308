"""Making the trials of a sweep: some at a time, each in a process, going on wherever an earlier command ended."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dife_lightning.errors import DataError, DifeError, Interrupted, UsageError
from dife_lightning.running.folders import LAST
from dife_lightning.running.locks import RunLock
from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.launch import GRACE, LOOK, Child, Launch, environment_of, launch_fit, stop
from dife_lightning.sweeps.objective import MissingMetric, best_value, ranked
from dife_lightning.sweeps.records import SweepFolder, Trial
from dife_lightning.sweeps.suggest import suggest


def todo(trials: Sequence[Trial], count: int, retry: bool = False) -> list[int]:
    """Return the numbers below ``count`` of trials that are not finished, those that had begun first.

    Args:
        trials: those that were started before.
        count: how many there are to be.
        retry: whether those that failed are made again.
    """
    open_states = ("running", "failed") if retry else ("running",)
    begun = [trial.number for trial in trials if trial.number < count and trial.state in open_states]
    known = {trial.number for trial in trials}
    return begun + [number for number in range(count) if number not in known]


def say(text: str) -> None:
    """Print a line now, also into a pipe; that nobody reads any more must not end a sweep."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


@dataclass
class _Running:
    trial: Trial
    child: Child
    started: float
    offset: int  # of its log


class Runner:
    """Makes trials until there are enough.

    Args:
        sweep: what there is to try.
        folder: where it is written down.
        seed: of the sweep.
        more: further words for each `dife fit`.
        parallel: trials at a time.
        launch: starts a trial.
        tell: is given a line at each start and end.
        look: seconds between two looks at the trials.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        *,
        seed: int = 0,
        more: Sequence[str] = (),
        parallel: int = 1,
        launch: Launch = launch_fit,
        tell: Callable[[str], None] = say,
        look: float = LOOK,
    ) -> None:
        self.sweep, self.folder, self.seed, self.more = sweep, folder, seed, tuple(more)
        self.parallel, self.launch, self.tell, self.look = parallel, launch, tell, look
        self.trials = {trial.number: trial for trial in folder.trials()}
        self._running: list[_Running] = []
        self._environment = environment_of(parallel, folder.path.name)

    def run(self, numbers: Sequence[int], count: int) -> None:
        """Make the trials ``numbers`` of ``count``.

        Raises:
            Interrupted: a signal came; the running trials are ended, and go on next time.
            UsageError: the first trial to end shows that no trial logs the metric.
        """
        waiting = deque(numbers)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.parallel:
                    self._start(waiting.popleft(), count)
                time.sleep(self.look)
                self._collect(count)
        except BaseException as error:
            if isinstance(error, Interrupted | KeyboardInterrupt) and self._running:
                self.tell(f"waiting for {len(self._running)} running to write checkpoints; Ctrl-C again hurries them")
            stop([one.child for one in self._running], self.look)
            self._put_off()
            raise

    def _start(self, number: int, count: int) -> None:
        """Start a trial, or go on with it from its last checkpoint."""
        trial = self.trials.get(number)
        begun = trial is not None and (self.folder.run(number) / "checkpoints" / LAST).is_file()
        if trial is None:
            trial = Trial(number, self._suggested(number), seen=self._finished() if self._looks_back else [])
            self.trials[number] = trial
        trial.state, trial.exit_code, trial.message = "running", None, ""
        self._wait_for_orphan(number)
        self.folder.write(trial)
        log = self.folder.log(number)
        offset = _size(log)
        child = self.launch(self._words(trial, begun), log, self._environment)
        self._running.append(_Running(trial, child, _now(), offset))
        self.tell(f"trial {number} of {count}: {'goes on' if begun else _shown(trial.parameters)}")

    @property
    def _looks_back(self) -> bool:
        return self.sweep.method == "bayes"

    def _suggested(self, number: int) -> dict[str, Any]:
        return suggest(self.sweep, number, self.seed, list(self.trials.values()))

    def _finished(self) -> list[int]:
        return [number for number, trial in sorted(self.trials.items()) if trial.objective is not None]

    def _words(self, trial: Trial, begun: bool) -> list[str]:
        """Return the words that go on with a run, or those of a new one, after removing what there is of it."""
        place = ["--run", self.folder.run_name(trial.number), "--runs_root", str(self.folder.runs)]
        if begun:
            return ["fit", *place, "--ckpt_path", "last"]
        shutil.rmtree(self.folder.run(trial.number), ignore_errors=True)
        return self.sweep.command(trial.parameters, [*self.more, *place])

    def _wait_for_orphan(self, number: int) -> None:
        """See that no process of a sweep that was killed still trains this trial; it may be writing its checkpoint."""
        run, until = self.folder.run(number), _now() + GRACE
        while run.is_dir():
            try:
                RunLock(run).release()
                return
            except UsageError:
                if _now() > until:
                    raise UsageError(
                        f"trial {number} is still trained by a process that an earlier `dife sweep` left behind; wait "
                        f"for it or end it (see {self.folder.log(number)}), then type the same command."
                    ) from None
                time.sleep(self.look)

    def _collect(self, count: int) -> None:
        """Write down the trials that have ended."""
        for one in list(self._running):
            code = one.child.poll()
            if code is not None:
                self._running.remove(one)
                self._book(one, code)
                self.tell(f"trial {one.trial.number} of {count}: {self._told(one.trial)}")

    def _book(self, one: _Running, code: int) -> None:
        trial = one.trial
        trial.seconds = round(trial.seconds + _now() - one.started, 1)
        try:
            if code:
                raise DataError(_last_words(self.folder.log(trial.number), one.offset, code))
            trial.objective, trial.step = best_value(self.folder.run(trial.number) / "metrics.csv", self.sweep)
            trial.state = "done"
        except DifeError as error:
            trial.state, trial.exit_code, trial.message = "failed", code, str(error)
            self.folder.write(trial)
            if isinstance(error, MissingMetric) and not self._finished():
                raise UsageError(f"metric.name: {error} Mend it in the file, and choose another --name.") from None
        self.folder.write(trial)

    def _told(self, trial: Trial) -> str:
        if trial.objective is None:
            return f"failed: {trial.message}"
        best = ranked(self.sweep, self.trials.values())[0]
        standing = "the best so far" if best is trial else f"best {best.objective:.4g}, trial {best.number}"
        return f"{self.sweep.metric} {trial.objective:.4g} at step {trial.step}, {trial.seconds:.0f} s ({standing})"

    def _put_off(self) -> None:
        """Write down those that were ended, or had just finished by themselves."""
        for one in self._running:
            if one.child.poll() == 0:
                self._book(one, 0)
            else:
                one.trial.seconds = round(one.trial.seconds + _now() - one.started, 1)
                self.folder.write(one.trial)
        self._running = []


def _last_words(log: Path, offset: int, code: int) -> str:
    """Return the line with which a trial that failed ended; its log before ``offset`` is of an earlier command."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    text = log.read_bytes()[offset:].decode("utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit code {code}"])[-1].removeprefix("error: ")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _shown(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in parameters.items())


def _now() -> float:
    return time.monotonic()
