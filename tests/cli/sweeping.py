"""Sweeps of a tiny method, most of them without a process for each trial."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial

from dife_lightning.cli.main import main
from dife_lightning.sweeps.study import SweepFolder

GOOD: dict[str, Any] = {
    "program": "dife",
    "command": ["dife", "fit", "--config", "tiny.yaml", "${args}"],
    "method": "grid",
    "metric": {"name": "val/pixel_error", "goal": "minimize"},
    "parameters": {"model.lr": {"values": [0.01, 0.1, 1.0]}},
}


class Finished:
    """A trial that ended before it was polled."""

    def __init__(self, code: int) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, sig: int, /) -> None:
        raise AssertionError("it has ended")


def in_this_process(words: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> Finished:
    """Run a trial at once, in this process."""
    return Finished(main(list(words)))


def write_sweep(name: str = "mine.yaml", **changes: Any) -> Path:
    """Write the file of a sweep into the working folder."""
    path = Path(name)
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def settings(run: Path) -> Any:
    return yaml.safe_load((run / "resolved.yaml").read_text())


def trials(folder: Path) -> list[FrozenTrial]:
    return SweepFolder(folder).trials()
