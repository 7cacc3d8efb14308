"""What is known of each trial: one JSON file a trial, replaced as a whole, so that a sweep survives any end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dife_lightning.errors import DataError, UsageError
from dife_lightning.utils.files import write_json

State = Literal["running", "done", "failed"]


@dataclass
class Trial:
    """One `dife fit` of a sweep.

    Attributes:
        number: from 0, in the order of starting.
        parameters: dotted key -> value.
        state: ``running`` also where an interruption ended it; it then goes on.
        objective: best value of the metric over the run's validations; None until there is one.
        step: at which it was reached.
        seconds: spent on it, those before an interruption included.
        exit_code: of a trial that failed.
        message: why it failed.
        seen: finished trials that the choice of its parameters was based on.
    """

    number: int
    parameters: dict[str, Any]
    state: State = "running"
    objective: float | None = None
    step: int | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    message: str = ""
    seen: list[int] = field(default_factory=list)

    @property
    def reached(self) -> float:
        """The objective of a trial that has one."""
        assert self.objective is not None
        return self.objective


@dataclass(frozen=True)
class SweepFolder:
    """``sweeps/<name>``: ``sweep.json``, ``trials/0000.json``, ``logs/0000.txt``, ``runs/trial-0000/``, results."""

    path: Path

    @property
    def runs(self) -> Path:
        """The folder of the trials' runs, the ``--runs_root`` of each `dife fit`."""
        return self.path / "runs"

    def run_name(self, number: int) -> str:
        """Return the name of a trial's run."""
        return f"trial-{number:04d}"

    def run(self, number: int) -> Path:
        """Return the folder that a trial's `dife fit` writes."""
        return self.runs / self.run_name(number)

    def log(self, number: int) -> Path:
        """Return the file that a trial's output goes to."""
        return self.path / "logs" / f"{number:04d}.txt"

    def write(self, trial: Trial) -> None:
        """Write down what is known of a trial."""
        write_json(self.path / "trials" / f"{trial.number:04d}.json", asdict(trial))

    def trials(self) -> list[Trial]:
        """Return all trials that were ever started, by number.

        Raises:
            DataError: a record is damaged.
        """
        return sorted(map(_read, (self.path / "trials").glob("[0-9]*.json")), key=lambda trial: trial.number)

    def check_identity(self, identity: Mapping[str, Any]) -> None:
        """Compare what makes a sweep with what was written when it began.

        Args:
            identity: nested plain values; other keys of what was written are not compared.

        Raises:
            UsageError: something is different.
        """
        if not self._identity.is_file():
            return
        known = _load(self._identity)
        now, then = dict(_flat(identity)), {k: v for k, v in _flat(known) if k.split(_JOINT)[0] in identity}
        changed = [key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)]
        if changed:
            key = changed[0]
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise UsageError(
                f"{self.path} was begun with another sweep: {key.replace(_JOINT, '.')} was {_shown(then.get(key))}, is "
                f"{_shown(now.get(key))}{more}. Choose another --name, or undo the change to go on."
            )

    def write_identity(self, identity: Mapping[str, Any]) -> None:
        """Write what makes this sweep."""
        write_json(self._identity, identity)

    def known(self, key: str, default: Any) -> Any:
        """Return an entry of what makes this sweep; ``default`` where nothing was written yet."""
        return _load(self._identity).get(key, default) if self._identity.is_file() else default

    @property
    def _identity(self) -> Path:
        return self.path / "sweep.json"


#: Joins keys that may have dots themselves.
_JOINT = "\0"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}{_JOINT}{name}" if key else str(name))
    else:
        yield key, value


def _shown(value: Any) -> str:
    text = "not there" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(path: Path) -> Trial:
    content = _load(path)
    names = {one.name for one in fields(Trial)}
    if not {"number", "parameters", "state"} <= set(content) or not set(content) <= names:
        raise DataError(f"{path} is no record of a trial; remove it, and the trial is made again.")
    return Trial(**content)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged; remove it and type the same command again.")
    return content
