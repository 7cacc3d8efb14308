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

from dife_lightning.errors import DataError, UsageError, reason_of
from dife_lightning.running.folders import drop_if_empty
from dife_lightning.running.locks import RunLock
from dife_lightning.sweeps.definition import Goal, Sweep, check
from dife_lightning.utils.randomness import seed_of

#: Random trials of method bayes before TPE has enough to go by.
STARTUP = 8
optuna.logging.set_verbosity(optuna.logging.WARNING)


class SweepFolder:
    """``sweeps/NAME``: ``journal.log``, ``runs/trial-0000``, ``logs/0000.txt`` and the report; it need not exist.

    Raises:
        UsageError: an earlier version wrote the sweep in it.
        DataError: the journal is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._journal = path, path.absolute() / "journal.log"
        self.study = optuna.create_study()  # an empty one, until there is a journal
        old = f"{path} was written by dife-lightning 0.1; read its sweep.csv, and choose another --name."
        check(self._journal.is_file() or not (path / "trials").is_dir(), old)
        if self._journal.is_file():
            try:
                self._open()
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise DataError(f"{self._journal} is damaged ({reason_of(error)}); choose another --name.") from None

    def _open(self, goal: Goal | None = None) -> None:
        backend = JournalFileBackend(str(self._journal), JournalFileOpenLock(str(self._journal)))
        store = self._storage = JournalStorage(backend)
        if goal or optuna.get_all_study_names(store):
            self.study = optuna.create_study(storage=store, study_name="sweep", direction=goal, load_if_exists=True)

    def run(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.path / "runs" / f"trial-{number:04d}"

    def log_file(self, number: int) -> Path:
        """Return the file with the output of a trial."""
        return self.path / "logs" / f"{number:04d}.txt"

    @property
    def begun(self) -> dict[str, Any]:
        """What the sweep was begun with; empty before its first trial."""
        return self.study.user_attrs.get("begun", {})

    def begin(self, sweep: Sweep, facts: Mapping[str, Any]) -> None:
        """Start the journal with ``facts``, what the sweep is begun with."""
        self._open(sweep.goal)
        self.study.set_user_attr("begun", facts)

    def check_begun(self, facts: Mapping[str, Any]) -> None:
        """Raise ``UsageError`` if the sweep was begun with something else than ``facts``, nested plain values."""
        now, then = dict(_flat(facts)), dict(_flat({key: self.begun.get(key) for key in facts}))
        changed = [key for key in {**then, **now} if then.get(key) != now.get(key)] if self.begun else []
        if changed:
            was, new = (f"{one.get(changed[0], 'not there')}" for one in (then, now))
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            told = (
                f"{changed[0]} was {was:.60}, is {new:.60}{more}. Choose another --name, or undo the change to go on."
            )
            raise UsageError(f"{self.path} was begun with another sweep: {told}")

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number, without failed ones that were made again."""
        trials = self.study.get_trials()
        again = {trial.user_attrs.get("again") for trial in trials}
        return [trial for trial in trials if trial.number not in again]

    def add(self, sweep: Sweep, values: dict[str, Any], again: int | None = None) -> FrozenTrial:
        """Add a running trial, in one line of the journal; ``again`` is the number of a failed one that it replaces."""
        trial = create_trial(state=TrialState.RUNNING, params=values, distributions=sweep.space)
        trial.user_attrs = {"again": again}
        self.study.add_trial(trial)
        return self.study.get_trials()[-1]

    def note(self, number: int, **facts: Any) -> None:
        """Write down something about a running trial."""
        for key, value in facts.items():
            self._storage.set_trial_user_attr(self.study.get_trials()[number]._trial_id, key, value)

    def spend(self, number: int, seconds: float) -> None:
        """Add to the time that was spent on a running trial."""
        self.note(number, seconds=round(self.study.get_trials()[number].user_attrs.get("seconds", 0) + seconds, 1))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[SweepFolder]:
    """Open the folder of a sweep for writing and keep other sweeps out; remove it afterwards if it is empty.

    Raises:
        UsageError: another sweep is writing into it.
    """
    path.mkdir(parents=True, exist_ok=True)
    try:
        lock = RunLock(path)
    except UsageError:
        raise UsageError(f"another `dife sweep` writes into {path}; wait for it, or choose another --name.") from None
    try:
        _repair(path / "journal.log")
        yield SweepFolder(path)
    finally:
        lock.release()
        drop_if_empty(path)


def _repair(journal: Path) -> None:
    """Remove the lock of a killed process, and what it or a full disk left of a last line."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.is_file():
        os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)


def suggest(sweep: Sweep, place: int, seed: int, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the values of the next trial, a pure function of the arguments.

    Args:
        sweep: what to try, and how.
        place: number of trials before this one.
        seed: of the sweep.
        trials: those before, for method bayes.
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
    """Return the finished trials, the best first; of two alike the earlier one."""
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(finished, key=lambda trial: (sweep.loss(trial.values[0]), trial.number))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}".lstrip("."))
    else:
        yield key, value
