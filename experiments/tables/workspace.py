"""The runs behind a table: the key and command of each, and whether it is finished, recorded or still to be run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import DataError
from dife_lightning.utils.run_folder import RunFolder
from experiments.common.jobs import Job, State, control_settings, fit_words, from_warmup_words, setting_words
from experiments.common.keys import changes, comparable, training_key
from experiments.common.plan import MOST_SEEDS, Plan, TableRow
from experiments.tables.records import RunRecord, find_record

Resolve = Callable[[tuple[str, ...]], dict[str, Any]]


def remembering() -> Resolve:
    """Return a function that resolves the settings of each command once; tables share most of their commands."""
    return lru_cache(maxsize=None)(resolved_settings)


@dataclass(frozen=True)
class Training:
    """A job of a table, with the committed record of its run if there is one."""

    job: Job
    state: State
    why: str
    record: RunRecord | None

    @property
    def finished(self) -> bool:
        """Whether the run exists, is complete, and was made with the current settings."""
        return self.state == "finished"

    @property
    def available(self) -> bool:
        """Whether the run is finished or has a committed record."""
        return self.finished or self.record is not None

    def stages(self) -> dict[str, dict[str, float]]:
        """Return stage -> steps and seconds of the run, or of its record.

        Raises:
            DataError: there is neither.
        """
        if self.finished:
            return self.job.run.stages()
        if self.record is not None:
            return dict(self.record.content["stages"])
        raise DataError(f"no run {self.job.run.path}, whose number of steps another row takes: train that first")


@dataclass(frozen=True)
class Workspace:
    """A plan, and the folders of its results.

    Attributes:
        plan: plan of the table.
        runs_root: folder of the runs.
        records: folder of committed records that replace runs; None uses none.
        trainer: trainer preset of the trainings.
        count: pairs in each test list in place of its own number.
        seeds: seeds whose runs are looked for.
        train: whether rows may be trained, and optional rows tested.
        resolve: returns all settings of a command.
    """

    plan: Plan
    runs_root: Path
    records: Path | None = None
    trainer: str = "trainer/cpu"
    count: int | None = None
    seeds: Sequence[int] = range(MOST_SEEDS)
    train: bool = True
    resolve: Resolve = resolved_settings

    def run(self, row: str, model: str, seed: int) -> RunFolder:
        """Return the folder of a row's run."""
        return RunFolder(self.runs_root, f"{row}-{model}-seed{seed}")

    def training(self, row: TableRow, model: str, seed: int) -> Training:
        """Return the training of a row, model and seed.

        Raises:
            DataError: it takes its length from another row's run, and that is neither there nor recorded.
        """
        if row.of is not None:
            return self.training(self.plan.row(row.of), model, seed)
        run = self.run(row.name, model, seed)
        job = self._fit(row, model, seed, run) if row.fit is not None else self._continuation(row, model, seed, run)
        record = find_record(self.records, self.plan.measure.record(run.name))
        if record is not None and changes(
            comparable(record.training_key, record.content.get("settings") or {}, job.key), job.key
        ):
            record = None
        return Training(job, *job.state(), record)

    def settings(self, row: TableRow, model: str, more: Sequence[str] = ()) -> dict[str, Any]:
        """Return the settings of a ``fit`` with seed 0."""
        return self.resolve(tuple(fit_words(_configs(row, model), 0, [*setting_words(row.set), *more], self.trainer)))

    def _fit(self, row: TableRow, model: str, seed: int, run: RunFolder) -> Job:
        more = []
        if row.steps is not None:
            source = self.training(self.plan.row(row.steps), model, seed)
            more.append(f"--trainer.max_steps={sum(int(stage['steps']) for stage in source.stages().values())}")
        settings = self.settings(row, model, more)
        key = training_key(_with_seed(settings, seed), versions_of(settings["model"]["class_path"]))
        words = fit_words(_configs(row, model), seed, [*setting_words(row.set), *more], self.trainer)
        return Job(run, words, key)

    def _continuation(self, row: TableRow, model: str, seed: int, run: RunFolder) -> Job:
        """Return the job that continues from a warm-up; it has no command before its source is trained here."""
        source = self.training(self.plan.row(str(row.control or row.start)), model, seed)
        kind = "control" if row.control else "start"
        key = json.loads(json.dumps({"from": source.job.key, "set": dict(row.set), "kind": kind}))
        words: list[str] = []
        if source.finished:
            from_run = source.job.run
            words = from_warmup_words(from_run, control_settings(from_run) if row.control else row.set)
        return Job(run, words, key)

    def fit_all(self, seeds: Sequence[int]) -> dict[str, float]:
        """Train rows without a finished or recorded run, each after the rows that it needs; returns run -> seconds."""
        seconds: dict[str, float] = {}
        for model in self.plan.models():
            for seed in seeds:
                for row in self.plan.in_order():
                    if row.trained and row.of is None and model in self.plan.models(row):
                        self.fit(row, model, seed, seconds)
        return seconds

    def fit(self, row: TableRow, model: str, seed: int, seconds: dict[str, float], *, anew: bool = False) -> None:
        """Train a row, unless it is finished or recorded; an interrupted training continues.

        Args:
            row: row of the table.
            model: model of the column.
            seed: seed of the training.
            seconds: run -> seconds of its training; this one is added.
            anew: train also if there is a record, because another training needs the checkpoint.
        """
        training = self.training(row, model, seed)
        if training.finished or (training.record is not None and not anew):
            print(f"{training.job.run.name}: {'finished' if training.finished else 'recorded'}", flush=True)
            return
        for name in (row.control, row.start):
            if name is not None:
                self.fit(self.plan.row(name), model, seed, seconds, anew=True)
        training = self.training(row, model, seed)  # the runs that it starts from exist now
        job, why = training.job, f" ({training.why})" if training.why else ""
        print(f"{job.run.name}: {training.state}{why}", flush=True)
        seconds[job.run.name] = job.fit(training.state)


def _configs(row: TableRow, model: str) -> list[str]:
    """Return the configurations of a ``fit`` for a model."""
    names = [row.fit] if isinstance(row.fit, str) else row.fit or []
    return [name.format(model=model) for name in names]


def _with_seed(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return settings, which were resolved with seed 0, with another seed."""
    found = dict(settings) | {"seed_everything": seed}
    for part in ("model", "data"):
        found[part] = found[part] | {"init_args": found[part]["init_args"] | {"seed": seed}}
    return found


def versions_of(class_path: str) -> dict[str, int]:
    """Return the versions of a method, given by class path or class name, and of the world."""
    from dife_lightning.registry import methods_by_class
    from dife_lightning.world import WORLD_VERSION

    cls = methods_by_class().get(class_path.rpartition(".")[2])
    return {"method": getattr(cls, "version", 1), "world": WORLD_VERSION}
