"""The folder of a sweep: Optuna's journal of its trials, beside their runs and logs."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from dife_lightning.errors import DataError, DifeError, UsageError, reason_of
from dife_lightning.running.folders import drop_if_unused
from dife_lightning.running.locks import RunLock
from dife_lightning.sweeps.definition import Sweep, check
from dife_lightning.utils.randomness import seed_of
from dife_lightning.utils.run_folder import RunFolder

#: Random trials of method bayes before TPE has enough to go by.
STARTUP = 8
optuna.logging.set_verbosity(optuna.logging.WARNING)

#: The best value of a run and its step, or why there is none.
Outcome = tuple[float, int] | DifeError


class SweepFolder:
    """``sweeps/NAME``: ``journal.log``, ``runs/trial-0000``, ``logs/0000.txt`` and the report; it need not exist.

    Raises:
        UsageError: an earlier version wrote the sweep in it.
        DataError: the journal is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, journal = path, path.absolute() / "journal.log"
        old = f"{path} was written by dife-lightning 0.1; read its sweep.csv, and choose another --name."
        check(journal.is_file() or not (path / "trials").is_dir(), old)
        self._journal, self.study = str(journal), optuna.create_study()  # empty until there is a journal
        if journal.is_file() and journal.stat().st_size:
            try:
                self.study = optuna.load_study(study_name="sweep", storage=self._storage())
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise DataError(f"{journal} is damaged ({reason_of(error)}); choose another --name.") from None

    def _storage(self) -> JournalStorage:
        return JournalStorage(JournalFileBackend(self._journal, JournalFileOpenLock(self._journal)))

    def run(self, number: int) -> RunFolder:
        """Return the run of a trial."""
        return RunFolder(self.path / "runs", f"trial-{number:04d}")

    def log_file(self, number: int) -> Path:
        """Return the file with the output of a trial."""
        return self.path / "logs" / f"{number:04d}.txt"

    @property
    def begun(self) -> dict[str, Any]:
        """The facts that the sweep was started with; empty before its first trial."""
        return self.study.user_attrs.get("begun", {})

    def begin(self, sweep: Sweep, facts: Mapping[str, Any]) -> None:
        """Start the journal and store ``facts`` in it."""
        self.study = optuna.create_study(storage=self._storage(), study_name="sweep", direction=sweep.goal)
        self.study.set_user_attr("begun", facts)

    def check_begun(self, facts: Mapping[str, Any]) -> None:
        """Raise ``UsageError`` if the sweep was started with other ``facts`` (nested plain values)."""
        if not self.begun:
            return
        now, then = dict(_flat(facts)), dict(_flat({key: self.begun.get(key) for key in facts}))
        changed = [key for key in {**then, **now} if then.get(key) != now.get(key)]
        if changed:
            was, new = (f"{one.get(changed[0], 'not there')}"[:60] for one in (then, now))
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise UsageError(
                f"{self.path} was started with other settings: {changed[0]} was {was}, is {new}{more}. Choose another "
                "--name, or undo the change to resume."
            )

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number, without failed ones that were repeated."""
        trials = self.study.get_trials()
        again = {trial.user_attrs.get("again") for trial in trials}
        return [trial for trial in trials if trial.number not in again]

    def add(self, sweep: Sweep, values: dict[str, Any], again: int | None = None) -> FrozenTrial:
        """Add a running trial, in one line of the journal; ``again`` is the number of a failed one that it repeats."""
        trial = create_trial(state=TrialState.RUNNING, params=values, distributions=sweep.space)
        trial.user_attrs = {"again": again}
        self.study.add_trial(trial)
        return self.study.get_trials()[-1]

    def record(self, number: int, seconds: float, outcome: Outcome | None) -> None:
        """Add to the time spent on a running trial, and store how it ended; None if it is to be resumed."""
        trial = self.study.get_trials()[number]
        facts: dict[str, Any] = {"seconds": round(trial.user_attrs.get("seconds", 0) + seconds, 1)}
        if isinstance(outcome, DifeError):
            facts["message"] = str(outcome)
        elif outcome is not None:
            facts["step"] = outcome[1]
        for key, value in facts.items():
            self.study._storage.set_trial_user_attr(trial._trial_id, key, value)
        if isinstance(outcome, DifeError):
            self.study.tell(number, state=TrialState.FAIL)
        elif outcome is not None:
            self.study.tell(number, outcome[0])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[SweepFolder]:
    """Open the folder of a sweep for writing and keep other sweeps out; remove it afterwards if it is empty.

    Raises:
        UsageError: another sweep is writing into it.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = RunLock(path, "dife sweep", "--name")
    try:
        _repair(path / "journal.log")
        yield SweepFolder(path)
    finally:
        lock.release()
        drop_if_unused(path)


def _repair(journal: Path) -> None:
    """Remove the lock of a killed process and an incomplete last line."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.is_file():
        os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)


def suggest(sweep: Sweep, place: int, seed: int, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the values of the next trial, a pure function of the arguments.

    Args:
        sweep: what to try, and how.
        place: number of trials before this one.
        seed: of the sweep.
        trials: the earlier trials, for method bayes.
    """
    if sweep.method == "grid":
        every = itertools.product(*(distribution.choices for distribution in sweep.space.values()))
        return dict(zip(sweep.space, next(itertools.islice(every, place, None)), strict=True))
    state = seed_of(seed, "sweep", place) % 2**32
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(state)
    if sweep.method == "bayes":
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=state)
    study = optuna.create_study(sampler=sampler, direction=sweep.goal)
    study.add_trials(trial for trial in trials if trial.state != TrialState.FAIL)
    drawn = study.ask(sweep.space).params
    for name, (distribution, _, probabilities) in sweep.parameters.items():
        if probabilities:  # which Optuna does not have
            rng = np.random.default_rng(seed_of(seed, "sweep", name, place))
            drawn[name] = distribution.choices[rng.choice(len(probabilities), p=probabilities)]
    return {name: parameter.rounded(drawn[name]) for name, parameter in sweep.parameters.items()}


def ranked(sweep: Sweep, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished trials, the best first; of two equal ones the earlier one."""
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(finished, key=lambda trial: (sweep.loss(trial.values[0]), trial.number))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}".lstrip("."))
    else:
        yield key, value
