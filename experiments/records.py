"""The committed records behind the README's tables: the table, and one small file per run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dife_lightning.cli.runs import ENVIRONMENT
from dife_lightning.files import write_json
from experiments.runs import Run

_FACTS = ("commit", "dirty", "versions", "machine", "time", "seed", "precision", "command")


def write_records(table: dict[str, Any], folder: Path, name: str) -> None:
    """Write ``<folder>/<name>.json`` and ``<folder>/runs/*.json``; each row's ``run`` then names those files."""
    links: dict[str, str] = {}
    for rows in (table["rows"], table["paper_rows"]):
        for path in (path for row in rows for path in row["run"]):
            if path not in links:
                links[path] = _write_run(Path(path), folder)
    linked = {
        kind: [row | {"run": [links[path] for path in row["run"]]} for row in table[kind]]
        for kind in ("rows", "paper_rows")
    }
    write_json(folder / f"{name}.json", table | linked)


def _write_run(tested: Path, folder: Path) -> str:
    """Write what a test and the training before it were; returns the file's place below ``folder``."""
    home = tested.parent.parent
    run = Run(home.parent, home.name)
    metrics = json.loads((tested / "metrics.json").read_text(encoding="utf-8"))
    content: dict[str, Any] = {"name": run.name, "test": metrics, "cell": _json(tested / "cell.json")}
    if (run.folder / ENVIRONMENT).is_file():
        content["training"] = {key: _json(run.folder / ENVIRONMENT).get(key) for key in _FACTS}
        content["settings"] = {key: run.settings()[key] for key in ("seed_everything", "model", "data", "trainer")}
        content["stages"] = run.stages()
    place = f"runs/{run.name}-{tested.name}.json"
    write_json(folder / place, content)
    return place


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
