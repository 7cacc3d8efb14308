"""What a run's folder says of the run, read without trust: any value may be missing or of another type."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.errors import CheckpointError, DataError, reason_of
from dife_lightning.utils.run_folder import ENVIRONMENT, RESOLVED, TEST_METRICS, RunFolder
from dife_lightning.utils.yaml_text import load_yaml

#: Keys under which data modules and methods name their species.
_SPECIES = ("domains", "generators", "species", "kinds")


@dataclass(frozen=True)
class TestRecord:
    """One test of a run.

    Attributes:
        name: of its folder.
        metrics: content of ``metrics.json``.
        data: name of the class of its pairs; empty if that is not recorded.
    """

    name: str
    metrics: dict[str, Any]
    data: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of scores."""
        found = self.metrics.get("rows")
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


@dataclass(frozen=True)
class RunRecord:
    """The record of a run.

    Attributes:
        path: the run's folder.
        settings: content of ``resolved.yaml``.
        environment: content of ``environment.json``.
        stages: content of ``stages.json``: stage -> ``steps`` and ``seconds``.
        log: rows of ``metrics.csv``.
        tests: the tests, by name of their folder.
        continued: how often the training was continued.
        parameters: part of the network -> number of values in the checkpoint; None without a checkpoint.
    """

    path: Path
    settings: dict[str, Any]
    environment: dict[str, Any]
    stages: dict[str, Any]
    log: list[dict[str, str]]
    tests: list[TestRecord]
    continued: int
    parameters: dict[str, int] | None

    def arguments(self, section: str) -> dict[str, Any]:
        """Return the arguments of the ``model`` or the ``data``."""
        return part(self.settings, section, "init_args")

    def class_name(self, section: str) -> str:
        """Return the name of the class of the ``model`` or the ``data``, without its module."""
        return class_name(self.settings.get(section))

    @property
    def trained(self) -> bool:
        """Whether this is the folder of a training, not that of a test alone."""
        return bool(self.stages) or self.environment.get("verb", "fit") == "fit"

    def trained_species(self) -> list[str]:
        """Return the species of the training that settings of model and data name, in their order."""
        found: dict[str, None] = {}
        if not self.trained:
            return []
        for section in ("model", "data"):
            for value in (self.arguments(section).get(key) for key in _SPECIES):
                names = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else []
                found |= {str(name): None for name in names}
        return list(found)

    def steps(self) -> int | None:
        """Return the steps that were trained."""
        steps = [number(part(self.stages, stage).get("steps")) for stage in self.stages]
        return int(sum(count for count in steps if count is not None)) if steps else None

    def seconds(self) -> float | None:
        """Return the seconds of training, without validations."""
        seconds = [number(part(self.stages, stage).get("seconds")) for stage in self.stages]
        return sum(count for count in seconds if count is not None) if seconds else None

    def logged(self, name: str) -> list[tuple[str, float]]:
        """Return the step and the value of each row of the log that has a column's value."""
        found = [(row.get("step") or "?", number(row.get(name))) for row in self.log]
        return [(step, value) for step, value in found if value is not None]


def read_record(path: str | Path) -> RunRecord:
    """Read the record of a run.

    Raises:
        DataError: ``path`` is not the folder of a run, or a file of the record is damaged.
        CheckpointError: its checkpoint is damaged.
    """
    run = RunFolder.at(Path(path).expanduser().resolve())
    if not run.resolved.is_file():
        what = "is not the folder of a run" if run.path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}: no {RESOLVED} in it; expected a folder such as runs/first.")
    settings = _mapping(run.resolved)
    if not class_name(settings.get("model")):
        raise DataError(f"{run.resolved} names no model, so {path} is not the folder of a run of dife.")
    tests = [run.path, *sorted(file.parent for file in run.tests.glob(f"*/{TEST_METRICS}"))]
    return RunRecord(
        run.path,
        settings,
        _mapping(run.environment),
        _mapping(run.stage_times),
        _log(run.log),
        [_test(folder, settings) for folder in tests if (folder / TEST_METRICS).is_file()],
        len(list(run.path.glob(f"{Path(ENVIRONMENT).stem}-*.json"))),
        _parameters(run.path),
    )


def part(content: Any, *keys: str) -> dict[str, Any]:
    """Return the mapping under ``keys``; an empty one where there is something else or nothing."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def number(value: Any) -> float | None:
    """Return ``value`` as a number if it is one, or text of one, and finite."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def class_name(section: Any) -> str:
    """Return the class of a section of the settings, without its module; empty if there is none."""
    found = section.get("class_path") if isinstance(section, dict) else section
    return found.rpartition(".")[2] if isinstance(found, str) else ""


def _test(folder: Path, settings: dict[str, Any]) -> TestRecord:
    own = _mapping(folder / RESOLVED) or settings
    data = part(own, "data")
    return TestRecord(
        folder.name, _mapping(folder / TEST_METRICS), class_name(part(data, "init_args").get("evaluation") or data)
    )


def _mapping(path: Path) -> dict[str, Any]:
    """Return the content of a YAML or JSON file; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path} is damaged ({reason_of(error)}).") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, expected names and values.")
    return {str(key): value for key, value in content.items()}


def _log(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{k: v for k, v in row.items() if k and isinstance(v, str)} for row in csv.DictReader(file)]
    except (csv.Error, ValueError, OSError) as error:
        raise DataError(f"{path} is damaged ({reason_of(error)}).") from None


def _parameters(run: Path) -> dict[str, int] | None:
    """Count the values of each part of the network in the best checkpoint, or the last one."""
    from dife_lightning.weights.checkpoints import best_checkpoint, read_checkpoint

    try:
        path = best_checkpoint(run)
    except CheckpointError:
        return None
    state = read_checkpoint(path).get("state_dict")
    found: dict[str, int] = {}
    for name, tensor in (state if isinstance(state, dict) else {}).items():
        if "." in str(name) and hasattr(tensor, "numel"):  # parts of the network; single tensors are statistics
            top = str(name).partition(".")[0]
            found[top] = found.get(top, 0) + int(tensor.numel())
    return found
