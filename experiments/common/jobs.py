"""A resumable `dife fit`: its state (new, interrupted, finished or out of date) and the command to run next."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dife_lightning.errors import DataError
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.common import commands
from experiments.common.keys import Key, changes, comparable, settings_key

State = Literal["new", "interrupted", "finished", "changed"]


@dataclass(frozen=True)
class Job:
    """One training that can be interrupted and continued.

    Whether it is complete is read from a file beside the runs (``cells/<run>.json``) or, if ``budget`` is given, from
    the run itself: its settings and its last checkpoint.

    Attributes:
        run: its folder.
        words: verb and options that start it, without those of the folder.
        key: key of its result.
        budget: images or steps after which it is finished.
        free: dotted settings that may differ from those of an existing run, such as the budget.
        parent: the checkpoint that it starts from; the run is out of date if this file is newer.
    """

    run: RunFolder
    words: Sequence[str]
    key: Key
    budget: int | None = None
    free: Sequence[str] = ()
    parent: Path | None = None

    def state(self) -> tuple[State, str]:
        """Return the state of the run and, if it is out of date, what changed."""
        found = self._by_state_file() if self.budget is None else self._by_run(self.budget)
        if found is None:
            return "new", ""
        key, finished = found
        if differing := changes(key, self.key):
            return "changed", ", ".join(differing[:3])
        if self._parent_is_newer():
            return "changed", f"{self.parent} is newer"
        return ("finished" if finished else "interrupted"), ""

    def _by_state_file(self) -> tuple[Key, bool] | None:
        found = read_state(state_path(self.run)) if self.run.path.is_dir() else None
        if found is None or not self.run.resolved.is_file():
            return found
        return comparable(found[0], self.run.settings(), self.key), found[1]

    def _by_run(self, budget: int) -> tuple[Key, bool] | None:
        if not self.run.resolved.is_file() or not self.run.last_checkpoint.is_file():
            return None
        key = settings_key(self.run.settings(), self.free, wanted=self.key)
        return key, _is_done(read_checkpoint(self.run.last_checkpoint), budget)

    def _parent_is_newer(self) -> bool:
        if self.parent is None or not self.parent.is_file() or not self.run.resolved.is_file():
            return False
        return self.parent.stat().st_mtime > self.run.resolved.stat().st_mtime

    def command(self, state: State, more: Sequence[str] = ()) -> list[str]:
        """Return the `dife fit` command that continues an interrupted run or starts a new one.

        Args:
            state: state of the run.
            more: options of a command that continues; all other settings come from the run.
        """
        if state == "interrupted" and self.run.last_checkpoint.is_file():
            return ["fit", *place_words(self.run, overwrite=False), "--ckpt_path", "last", *more]
        return [*self.words, *place_words(self.run)]

    def fit(self, state: State, more: Sequence[str] = ()) -> float:
        """Train and return the seconds; see :meth:`command`."""
        words = self.command(state, more)
        if self.budget is not None:
            return commands.call(words)
        write_state(state_path(self.run), self.key, finished=False)
        seconds = commands.call(words)
        write_state(state_path(self.run), self.key, finished=True)
        return seconds


def _is_done(checkpoint: dict[str, Any], budget: int) -> bool:
    """Return whether a training has seen its budget of images or steps, or early stopping has ended it."""
    progress = checkpoint["state_dict"].get("images_seen", checkpoint["global_step"])
    waiting = [state for state in checkpoint.get("callbacks", {}).values() if "wait_count" in state]
    return int(progress) >= budget or any(state["wait_count"] >= state["patience"] for state in waiting)


# State files: the key of a result, and whether it is complete


def state_path(run: RunFolder) -> Path:
    """Return the state file of a run: ``cells/<run>.json`` in the folder of all runs."""
    return run.root / "cells" / f"{run.name}.json"


def read_state(path: Path) -> tuple[Key, bool] | None:
    """Return the key of a result and whether it is complete; None if there is no file."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found["key"], bool(found["finished"])


def write_state(path: Path, key: Key, *, finished: bool) -> None:
    """Write the key of a result and whether it is complete."""
    write_json(path, {"finished": finished, "key": key})


# Commands


def fit_words(configs: str | Sequence[str], seed: int, more: Sequence[str] = (), trainer: str = "") -> list[str]:
    """Return a `dife fit` command with configurations, a trainer preset (if any), one seed and further options."""
    names = [configs] if isinstance(configs, str) else list(configs)
    given = [word for name in (*names, trainer) if name for word in ("--config", name)]
    seeds = [f"--{key}={seed}" for key in ("seed_everything", "model.init_args.seed", "data.init_args.seed")]
    return ["fit", *given, *seeds, *more]


def place_words(run: RunFolder, *, overwrite: bool = True) -> list[str]:
    """Return the options for the folder of a run; ``overwrite`` replaces an earlier run of that name."""
    return ["--run", run.name, "--runs_root", str(run.root), *(["--overwrite"] if overwrite else [])]


def setting_words(settings: dict[str, Any]) -> list[str]:
    """Return dotted settings as options of a command."""
    return [f"--{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in settings.items()]


def from_warmup_words(run: RunFolder, settings: dict[str, Any]) -> list[str]:
    """Return the command that continues from the warm-up of ``run`` with some other ``settings``."""
    return ["fit", "--ckpt_path", str(run.warmup_checkpoint), *setting_words(settings)]


def control_settings(run: RunFolder) -> dict[str, Any]:
    """Return the settings of the control of ``run``: training without matching for the same time."""
    steps = control_steps(run.stages(), int(run.settings()["trainer"]["val_check_interval"]))
    return {"model.init_args.lambda_m1": 0, "model.init_args.lambda_m2": 0, "trainer.max_steps": steps}


def control_steps(stages: dict[str, dict[str, float]], every: int) -> int:
    """Return the last step of the equal-time control.

    The control continues from the end of the warm-up, at the warm-up's seconds per step, for the seconds that the
    matching stage took, pair synthesis included. The step is rounded up to a validation, in the control's favour: the
    end of the schedule must be among the candidates for its best checkpoint, as it is for DIFE.

    Args:
        stages: stage -> ``steps`` and ``seconds``, both stages.
        every: steps between two validations.

    Raises:
        DataError: a stage was never trained.
    """
    steps, seconds = stages.get("warmup", {}).get("steps", 0), stages.get("warmup", {}).get("seconds", 0.0)
    matching = stages.get("matching", {}).get("seconds", 0.0)
    if not steps or not seconds or not matching or every < 1:
        raise DataError(f"stages {stages}, validation every {every}: the control needs a run of both stages")
    extra = max(1, round(matching / (seconds / steps)))
    return math.ceil((steps + extra) / every) * every
