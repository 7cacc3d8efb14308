"""The committed records of a table: the table itself, and one small file for each run and its test.

A table can be built from records without the runs: a record holds the error of each pair and the keys of the training
and the test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dife_lightning.errors import DataError
from dife_lightning.utils.files import atomic_write, write_json
from dife_lightning.utils.run_folder import TEST_METRICS, RunFolder
from experiments.common.jobs import state_path
from experiments.common.keys import Key
from experiments.common.measure import Measure
from experiments.common.pair_errors import PairErrors, SetKey, decoded, read_errors
from experiments.common.plan import Plan
from experiments.tables.markdown import markdown

_FACTS = ("commit", "dirty", "versions", "machine", "time", "seed", "precision", "command")


@dataclass(frozen=True)
class RunRecord:
    """The committed record of a run and its test; ``content`` is the content of its file."""

    path: Path
    content: Mapping[str, Any]

    @property
    def training_key(self) -> Key:
        """What decided the training; empty for a method that needs none."""
        return dict(self.content.get("training_key") or {})

    @property
    def test_key(self) -> dict[str, Any]:
        """What decided the test."""
        return dict(self.content["cell"]["key"])

    def errors(self) -> dict[SetKey, PairErrors]:
        """Return the errors of all its sets."""
        found, units = {}, self.content.get("units", {})
        for name, entry in self.content["errors"].items():
            key = _set_key(name)
            known = {"units": units["/".join(key[:2])]} if "/".join(key[:2]) in units else {}
            found[key] = decoded({**entry, **known})
        return found


def _set_key(name: str) -> SetKey:
    pair, list_name, framing, protocol = name.split("/")
    return pair, list_name, framing, protocol


def find_record(folder: Path | None, name: str) -> RunRecord | None:
    """Return the record of a run, or of a method that needs none, by its name.

    Args:
        folder: folder that holds ``runs/<name>.json``; None has no record.
        name: name of the run.

    Raises:
        DataError: the file is damaged.
    """
    path = None if folder is None else folder / "runs" / f"{name}.json"
    return None if path is None or not path.is_file() else RunRecord(path, _content(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=256)
def _content(path: Path, changed: int) -> dict[str, Any]:
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        if content["errors"] and content["cell"]["key"]:
            return content
        found = "an empty 'key'" if content["errors"] else "empty 'errors'"
    except (ValueError, KeyError, TypeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
    raise DataError(f"{path} is not the record of a run ({found}): restore it from version control")


def write_records(table: dict[str, Any], plan: Plan, folder: Path, name: str) -> None:
    """Write ``<folder>/<name>.json``, ``.md`` and ``<folder>/runs/*.json``; each row's ``run`` names one of those."""
    links: dict[str, str] = {}
    for rows in (table["rows"], table["paper_rows"]):
        for path in (path for row in rows for path in row["run"]):
            if path not in links:
                links[path] = _write_run(Path(path), plan.measure, folder)
    linked = {
        kind: [row | {"run": [links[path] for path in row["run"]]} for row in table[kind]]
        for kind in ("rows", "paper_rows")
    }
    write_json(folder / f"{name}.json", table | linked)
    with atomic_write(folder / f"{name}.md") as temporary:
        temporary.write_text(markdown(table, plan), encoding="utf-8")


def _write_run(tested: Path, measure: Measure, folder: Path) -> str:
    """Write the record of a test and of the training before it; returns the file relative to ``folder``."""
    if tested.suffix == ".json":  # already a record, perhaps in another folder
        place = f"runs/{tested.name}"
        if (folder / place).resolve() != tested.resolve():
            write_json(folder / place, _json(tested))
        return place
    run = RunFolder.at(tested.parent.parent)
    name, described = measure.record(run.name), _described(run, tested, measure)
    place, there = f"runs/{name}.json", find_record(folder, name)
    if there is None or not covers(there, described["cell"]["key"]):
        write_json(folder / place, described)
    return place


def covers(record: RunRecord, key: Mapping[str, Any]) -> bool:
    """Return whether a record's test has the key ``key`` on the same pair lists; it may have further lists."""
    found = record.test_key
    lists = key["lists"].items() <= found["lists"].items()
    return lists and all(
        found.get(part) == key.get(part)
        for part in ("checkpoint", "arguments", "assets", "versions", "first", "data", "window")
    )


def _described(run: RunFolder, tested: Path, measure: Measure) -> dict[str, Any]:
    content: dict[str, Any] = {"name": run.name, "test": _json(tested / TEST_METRICS)}
    content["cell"] = _json(tested / "cell.json")
    encoded = {key: errors.encoded() for key, errors in read_errors(tested, measure).items()}
    # the pairs of a list have the same units in all framings and protocols
    units = {"/".join(key[:2]): entry.pop("units") for key, entry in encoded.items() if "units" in entry}
    content["errors"] = {"/".join(key): entry for key, entry in encoded.items()}
    content |= {"units": units} if units else {}
    if run.environment.is_file():
        content["training_key"] = _json(state_path(run))["key"]
        content["training"] = {key: _json(run.environment).get(key) for key in _FACTS}
        content["training"]["command"] = [_portable(word) for word in content["training"]["command"] or ()]
        content["settings"] = {key: run.settings()[key] for key in ("seed_everything", "model", "data", "trainer")}
        content["stages"] = run.stages()
    return content


def _portable(word: str) -> str:
    """Return a word of a command with the path of a shipped configuration replaced by its name."""
    head, found, name = word.rpartition("/configs/")
    return name.removesuffix(".yaml") if found and head.startswith("/") else word


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
