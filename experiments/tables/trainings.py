"""The trainings of a table: what decides each, its command, and whether it is finished, recorded or still to be run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from experiments.common import runs
from experiments.common.cells import Cell, changes, training_key
from experiments.common.plan import Plan, TableRow
from experiments.common.runs import Run
from experiments.tables.records import Record, find_record


@dataclass(frozen=True)
class Place:
    """Where a table's runs lie, where committed records of runs are (None: none count), and the trainer preset."""

    runs_root: Path
    records: Path | None
    trainer: str


@dataclass(frozen=True)
class Training:
    """A run of a row, what decides it, and the words of its command."""

    run: Run
    key: dict[str, Any]
    words: Sequence[str]
    record: Record | None = None

    @property
    def cell(self) -> Cell:
        """What is written down of it beside the runs."""
        return Cell(self.run.root / "cells" / f"{self.run.name}.json", self.key)

    @property
    def finished(self) -> bool:
        """Whether the run is there, complete, and was made with today's settings."""
        return self.run.folder.is_dir() and self.cell.state()[0] == "finished"

    @property
    def available(self) -> bool:
        """Whether the run is finished, or a committed record of it is there."""
        return self.finished or self.record is not None


def run_of(row: str, model: str, seed: int, place: Place) -> Run:
    """Return the run of a row, model and seed."""
    return Run(place.runs_root, f"{row}-{model}-seed{seed}")


def training_of(row: TableRow, model: str, seed: int, plan: Plan, place: Place) -> Training:
    """Return the training of a row, model and seed.

    Raises:
        DataError: it takes its length from another row's run, and that is neither there nor recorded.
    """
    run = run_of(row.name, model, seed, place)
    if row.fit is not None:
        words = _fit_words(row, model, seed, plan, place)
        settings = resolved_settings(words)
        key = training_key(settings, versions_of(settings["model"]["class_path"]))
        return Training(run, key, words, _recorded(run, key, place))
    source = training_of(plan.row(str(row.control or row.start)), model, seed, plan, place)
    key = {"from": source.key, "set": dict(row.set), "kind": "control" if row.control else "start"}
    key = json.loads(json.dumps(key))
    words = _later_words(row, source, run)
    return Training(run, key, words, _recorded(run, key, place))


def _fit_words(row: TableRow, model: str, seed: int, plan: Plan, place: Place) -> list[str]:
    configs = [name.format(model=model) for name in ([row.fit] if isinstance(row.fit, str) else row.fit or [])]
    extra = set_words(row.set)
    if row.steps is not None:
        source = training_of(plan.row(row.steps), model, seed, plan, place)
        extra.append(f"--trainer.max_steps={sum(int(stage['steps']) for stage in stages_of(source).values())}")
    return runs.fit_words(configs, run_of(row.name, model, seed, place), seed, extra, trainer=place.trainer)


def _later_words(row: TableRow, source: Training, run: Run) -> list[str]:
    """Return the words that go on from a warm-up; none where the source has never been trained here."""
    if not source.finished:
        return []
    settings = source.run.settings()["trainer"]
    if row.control is not None:
        steps = runs.control_steps(source.run.stages(), int(settings["val_check_interval"]))
        return runs.control_words(source.run, run, steps)
    return runs.start_words(source.run, run, set_words(row.set))


def set_words(settings: dict[str, Any]) -> list[str]:
    """Return dotted settings as words of a command."""
    return [f"--{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in settings.items()]


def stages_of(training: Training) -> dict[str, dict[str, float]]:
    """Return stage -> steps and seconds of a run, or of its record.

    Raises:
        DataError: there is neither.
    """
    if training.finished:
        return training.run.stages()
    if training.record is not None:
        return training.record.stages
    raise DataError(f"no run {training.run.folder}, whose number of steps another row takes: train that first")


def _recorded(run: Run, key: dict[str, Any], place: Place) -> Record | None:
    found = find_record(place.records, run.name)
    return found if found is not None and not changes(found.training_key, key) else None


def versions_of(class_path: str) -> dict[str, int]:
    """Return the versions of a method, by its class path or class name, and of the world."""
    from dife_lightning.registry import methods_by_class
    from dife_lightning.world import WORLD_VERSION

    cls = methods_by_class().get(class_path.rpartition(".")[2])
    return {"method": getattr(cls, "version", 1), "world": WORLD_VERSION}


def untrained(row: TableRow) -> Any:
    """Return the method of a row that needs no training.

    Raises:
        ConfigError: there is no such method.
    """
    from dife_lightning.registry import methods_by_class

    classes = methods_by_class()
    if row.test not in classes:
        raise ConfigError(f"row '{row.name}': no method '{row.test}'. {did_you_mean(str(row.test), classes)}")
    return classes[row.test](**row.arguments)


def train_all(plan: Plan, seeds: Sequence[int], place: Place) -> None:
    """Run what is neither finished nor recorded, each row after those that it needs."""
    for model in plan.models():
        for seed in seeds:
            for row in plan.in_order():
                if row.trained:
                    train(row, model, seed, plan, place)


def train(row: TableRow, model: str, seed: int, plan: Plan, place: Place, *, anew: bool = False) -> None:
    """Run a training, unless it is finished or recorded; go on with one that was interrupted.

    Args:
        row: of the table.
        model: of the column.
        seed: of the training.
        plan: of the table.
        place: of runs and records.
        anew: a record does not do: another training starts from this one's checkpoint.
    """
    training = training_of(row, model, seed, plan, place)
    state, why = training.cell.state()
    if training.finished or (training.record is not None and not anew):
        print(f"{training.run.name}: {'finished' if training.finished else 'recorded'}", flush=True)
        return
    for name in (row.control, row.start):
        if name is not None:
            train(plan.row(name), model, seed, plan, place, anew=True)
    training = training_of(row, model, seed, plan, place)
    print(f"{training.run.name}: {state}{why and f' ({why})'}", flush=True)
    resumes = state == "interrupted" and training.run.last_checkpoint.is_file()
    training.cell.write(finished=False)
    runs.call(runs.resume_words(training.run) if resumes else training.words)
    training.cell.write(finished=True)
