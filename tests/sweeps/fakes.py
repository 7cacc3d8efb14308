"""Sweeps without trainings: a function takes the place of `dife fit` and writes the same files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from dife_lightning.sweeps.definition import Sweep, parse_sweep

LAMBDA = {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}


def sweep_of(parameters: Mapping[str, Any], method: str = "random", **more: Any) -> Sweep:
    content = {"command": ["dife", "fit", "${args}"], "method": method, "metric": {"name": "val/pixel_error"}}
    return parse_sweep({**content, "parameters": parameters, **more})


def trial_of(number: int, values: Mapping[str, Any], reached: float | None = None, **attributes: Any) -> FrozenTrial:
    """A trial as a journal has it: finished with an objective, failed with a message, else running."""
    state = TrialState.COMPLETE if reached is not None else TrialState.FAIL if attributes else TrialState.RUNNING
    space = {name: CategoricalDistribution([value]) for name, value in values.items()}
    trial = create_trial(state=state, params=dict(values), distributions=space, value=reached, user_attrs=attributes)
    trial.number = number
    return trial


class FakeFit:
    """A `dife fit` that ends after some polls.

    Args:
        words: as the process would get them.
        reach: parameters -> the metric's values at the validations; an exception is a failure.
        polls: how often it is polled before it has ended.
        log_file: for its output.
    """

    def __init__(
        self, words: Sequence[str], reach: Callable[[dict[str, Any]], Any], polls: int, log_file: Path
    ) -> None:
        self.words, self.reach, self.polls, self.log_file = list(words), reach, polls, log_file
        self.code: int | None = None
        self.run = Path(words[words.index("--runs_root") + 1]) / words[words.index("--run") + 1]
        self.signals: list[int] = []

    @property
    def parameters(self) -> dict[str, Any]:
        pairs = [word[2:].split("=", 1) for word in self.words if word.startswith("--") and "=" in word]
        return {name: yaml.safe_load(text) for name, text in pairs}

    def poll(self) -> int | None:
        if self.code is None:
            self.polls -= 1
            if self.polls <= 0:
                self.code = self._end()
        return self.code

    def send_signal(self, sig: int, /) -> None:
        """Answer as `dife fit` does: write a checkpoint and end."""
        self.signals.append(sig)
        if self.code is None:
            save(self.run)
            self.code = 128 + sig

    def _end(self) -> int:
        try:
            values = self.reach(self.parameters)
        except Exception as error:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("a") as file:
                file.write(f"Seed set to 0\nerror: {error}\nsome last line\n")
            return 3
        self.run.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"0,{10 * i + 9},{value}\n" for i, value in enumerate(values))
        (self.run / "metrics.csv").write_text(f"epoch,step,val/pixel_error\n{rows}")
        return 0


def save(run: Path) -> None:
    """Write what an interrupted run leaves behind."""
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run / "checkpoints/last.ckpt").touch()


class Fakes:
    """Launches fakes and keeps them.

    Args:
        reach: see :class:`FakeFit`.
        polls: number of a launch -> how often it is polled before it has ended.
    """

    def __init__(self, reach: Callable[[dict[str, Any]], Any], polls: Callable[[int], int] = lambda n: 1) -> None:
        self.reach, self.polls = reach, polls
        self.made: list[FakeFit] = []
        self.most = 0
        self.environments: list[dict[str, str]] = []

    def __call__(self, words: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> FakeFit:
        self.made.append(FakeFit(words, self.reach, self.polls(len(self.made)), log_file))
        self.environments.append(dict(environment))
        self.most = max(self.most, sum(fake.code is None for fake in self.made))
        return self.made[-1]
