"""The trainings and tests behind a table of landmark models; finished ones are kept, interrupted ones continue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import DifeError
from dife_lightning.utils.files import sha256, write_json
from dife_lightning.utils.run_folder import PREDICTIONS, TEST_METRICS, RunFolder
from experiments.common.commands import call
from experiments.common.jobs import Job, read_state, setting_words, write_state
from experiments.common.keys import changes, training_key
from experiments.common.options import recorded_facts
from experiments.landmarks.errors import NmeTable, decoded, read_nme
from experiments.landmarks.plan import LandmarkPlan, LandmarkRow


@dataclass(frozen=True)
class ScoredRow:
    """The test of a row: errors by domain, the rows of ``metrics.json``, seconds of the training."""

    errors: Mapping[str, NmeTable]
    rows: list[dict[str, Any]]
    seconds: float | None
    source: str


@dataclass
class Runs:
    """Folders of a table.

    Attributes:
        plan: of the table.
        root: folder of the runs.
        records: folder of committed records; a run that has one is not made again.
        train: whether runs may be made.
        left_out: row -> why it has no test.
    """

    plan: LandmarkPlan
    root: Path
    records: Path | None = None
    train: bool = True
    left_out: dict[str, str] = field(default_factory=dict)

    def test(self, row: LandmarkRow, seed: int, labels: int | None = None) -> ScoredRow | None:
        """Return the test of a row, made now unless it is there; None if it is left out."""
        try:
            found = self._tested(row, seed, labels)
            if found is None:
                self.left_out.setdefault(row.name, "it has no test; it is tested without --no_training")
            return found
        except DifeError as error:
            if not row.optional:
                raise
            self.left_out[row.name] = str(error)
            print(f"{row.name} is left out: {error}", flush=True)
            return None

    def _tested(self, row: LandmarkRow, seed: int, labels: int | None) -> ScoredRow | None:
        words = self._words(row, seed, labels)
        settings = resolved_settings(tuple(words))
        name = run_name(row.name, seed, labels)
        key = training_key(settings, _versions(settings))
        record = self._record(name, key)
        if record is not None:
            return record
        run = RunFolder(self.root, name)
        if row.fit:
            job = Job(run, words, key)
            state, why = job.state()
            if state != "finished" and not self.train:
                self.left_out.setdefault(row.name, f"no finished run {name}; it is trained without --no_training")
                return None
            print(f"{name}: {state}{f' ({why})' if why else ''}", flush=True)
            if state != "finished":
                job.fit(state)
        return self._scored(run, words, key, bool(row.fit))

    def _words(self, row: LandmarkRow, seed: int, labels: int | None) -> list[str]:
        """Return the verb and options that train a row, or test one without a training."""
        names = [*row.configs, *([self.plan.trainer] if row.fit else [])]
        given = [word for name in names for word in ("--config", name)]
        place = row.labels.rpartition(".")[0]
        seeds = ([f"--seed_everything={seed}"] if row.fit else []) + [f"--{place}.seed={seed}"]
        few = {} if labels is None else {row.labels: labels}
        return ["fit" if row.fit else "test", *given, *seeds, *setting_words({**row.set, **few})]

    def _scored(self, run: RunFolder, words: list[str], key: dict[str, Any], trained: bool) -> ScoredRow | None:
        folder = run.tests / "table" if trained else run.path
        state = folder / "cell.json"
        wanted = key | {"checkpoint": sha256(_best(run)) if trained else None}
        found = read_state(state)
        if found is None or not found[1] or changes(found[0], json.loads(json.dumps(wanted))):
            if not self.train:
                return None
            quiet = ["--trainer.logger", "false"]
            start = ["test", "--ckpt_path", str(run.path)] if trained else words
            call([*start, *quiet, "--out", str(folder)])
            write_state(state, wanted, finished=True)
        rows = json.loads((folder / TEST_METRICS).read_text(encoding="utf-8"))["rows"]
        seconds = sum(stage["seconds"] for stage in run.stages().values()) if trained else None
        return ScoredRow(read_nme(folder / PREDICTIONS), rows, seconds, str(folder))

    def _record(self, name: str, key: dict[str, Any]) -> ScoredRow | None:
        path = None if self.records is None else self.records / "runs" / f"{name}.json"
        if path is None or not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        if changes(content["key"], json.loads(json.dumps(key))):
            return None
        errors = {domain: decoded(entry) for domain, entry in content["errors"].items()}
        return ScoredRow(errors, content["rows"], content["seconds"], str(path))

    def write_record(self, row: LandmarkRow, seed: int, labels: int | None, tested: ScoredRow, folder: Path) -> None:
        """Write the record of a test: what its numbers can be computed from, and the key of its run."""
        settings = resolved_settings(tuple(self._words(row, seed, labels)))
        content = {
            "name": run_name(row.name, seed, labels),
            "key": training_key(settings, _versions(settings)),
            "seconds": tested.seconds,
            "rows": tested.rows,
            "errors": {domain: table.encoded() for domain, table in tested.errors.items()},
            "facts": recorded_facts(),
        }
        write_json(folder / "runs" / f"{content['name']}.json", content)


def run_name(row: str, seed: int, labels: int | None) -> str:
    """Return the name of a run."""
    return f"{row}-seed{seed}" if labels is None else f"{row}-labels{labels}-seed{seed}"


def _best(run: RunFolder) -> Path:
    from dife_lightning.weights.checkpoints import best_checkpoint

    return best_checkpoint(run.path)


def _versions(settings: Mapping[str, Any]) -> dict[str, int]:
    from experiments.tables.workspace import versions_of

    return versions_of(settings["model"]["class_path"])
