"""The names of a run's files; no other module spells them.

runs/first/
  resolved.yaml  environment.json  metrics.csv  stages.json
  checkpoints/best.ckpt  checkpoints/last.ckpt  checkpoints/previous.ckpt  checkpoints/warmup.ckpt
  eval/test-human_dog/metrics.json  eval/test-human_dog/predictions.csv  (what `dife test` wrote)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dife_lightning.errors import DataError
from dife_lightning.utils.yaml_text import load_yaml

RESOLVED, ENVIRONMENT, LOG, STAGES = "resolved.yaml", "environment.json", "metrics.csv", "stages.json"
CHECKPOINTS, BEST, LAST, PREVIOUS, WARMUP = "checkpoints", "best.ckpt", "last.ckpt", "previous.ckpt", "warmup.ckpt"
TESTS = "eval"
#: What a test writes into a folder of its own below ``eval``.
PREDICTIONS, TEST_METRICS = "predictions.csv", "metrics.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder ``<root>/<name>`` that `dife fit` writes."""

    root: Path
    name: str

    @classmethod
    def at(cls, path: str | Path) -> RunFolder:
        """Return the run in the folder ``path``."""
        path = Path(path)
        return cls(path.parent, path.name)

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / self.name

    @property
    def last_checkpoint(self) -> Path:
        """The most recent state of the training."""
        return self.path / CHECKPOINTS / LAST

    @property
    def warmup_checkpoint(self) -> Path:
        """The state at the end of the warm-up."""
        return self.path / CHECKPOINTS / WARMUP

    @property
    def resolved(self) -> Path:
        """The file of all settings."""
        return self.path / RESOLVED

    @property
    def environment(self) -> Path:
        """The file of versions, commit and command."""
        return self.path / ENVIRONMENT

    @property
    def log(self) -> Path:
        """The logged values, one row a step or validation."""
        return self.path / LOG

    @property
    def stage_times(self) -> Path:
        """The file of the steps and seconds of each stage."""
        return self.path / STAGES

    @property
    def tests(self) -> Path:
        """The folder of the run's tests."""
        return self.path / TESTS

    def settings(self) -> dict[str, Any]:
        """Return all settings of the run."""
        return dict(load_yaml(_existing(self.resolved).read_text(encoding="utf-8")))

    def command(self) -> list[str]:
        """Return the words of the command that started the run; empty if there is no record of it."""
        content = json.loads(self.environment.read_text(encoding="utf-8")) if self.environment.is_file() else {}
        return [str(word) for word in content.get("command") or []]

    def stages(self) -> dict[str, dict[str, float]]:
        """Return stage -> ``steps`` and ``seconds``, as ``StageTimer`` wrote them; without stages there is one."""
        return dict(json.loads(_existing(self.stage_times).read_text(encoding="utf-8")))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"no {path}: the run is not complete; run the same command again to continue it")
    return path
