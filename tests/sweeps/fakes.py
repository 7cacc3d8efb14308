"""Sweeps whose trials are no trainings: a function stands for `dife fit`, and writes what that would have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.sweeps.definition import Sweep, parse_sweep

LAMBDA = {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}


def sweep_of(parameters: Mapping[str, Any], method: str = "random", **more: Any) -> Sweep:
    content = {"command": ["dife", "fit", "${args}"], "method": method, "metric": {"name": "val/pixel_error"}}
    return parse_sweep({**content, "parameters": parameters, **more})


class FakeFit:
    """A `dife fit` that takes some looks to end.

    Args:
        words: as the process would get them.
        reach: parameters -> the metric's values at its validations; an exception stands for a failure.
        looks: how often it is looked at before it has ended.
        log: the file of its output.
    """

    def __init__(self, words: Sequence[str], reach: Callable[[dict[str, Any]], Any], looks: int, log: Path) -> None:
        self.words, self.reach, self.looks, self.log = list(words), reach, looks, log
        self.code: int | None = None
        self.run = Path(words[words.index("--runs_root") + 1]) / words[words.index("--run") + 1]
        self.signals: list[int] = []

    @property
    def parameters(self) -> dict[str, Any]:
        pairs = [word[2:].split("=", 1) for word in self.words if word.startswith("--") and "=" in word]
        return {name: yaml.safe_load(text) for name, text in pairs}

    def poll(self) -> int | None:
        if self.code is None:
            self.looks -= 1
            if self.looks <= 0:
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
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as file:
                file.write(f"Seed set to 0\nerror: {error}\nsome last line\n")
            return 3
        self.run.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"0,{10 * i + 9},{value}\n" for i, value in enumerate(values))
        (self.run / "metrics.csv").write_text(f"epoch,step,val/pixel_error\n{rows}")
        return 0


def save(run: Path) -> None:
    """Leave what an interrupted run leaves."""
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run / "checkpoints/last.ckpt").touch()


class Fakes:
    """Launches fakes and remembers them.

    Args:
        reach: see :class:`FakeFit`.
        looks: number of a launch -> how often it is looked at before it has ended.
    """

    def __init__(self, reach: Callable[[dict[str, Any]], Any], looks: Callable[[int], int] = lambda n: 1) -> None:
        self.reach, self.looks = reach, looks
        self.made: list[FakeFit] = []
        self.most = 0
        self.environments: list[dict[str, str]] = []

    def __call__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> FakeFit:
        self.made.append(FakeFit(words, self.reach, self.looks(len(self.made)), log))
        self.environments.append(dict(environment))
        self.most = max(self.most, sum(fake.code is None for fake in self.made))
        return self.made[-1]
