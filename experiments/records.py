"""The committed records behind the README's tables: the table, and one small file per run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dife_lightning.cli.runs import ENVIRONMENT
from dife_lightning.files import atomic_write, write_json
from experiments.measure import Measure
from experiments.runs import Run
from experiments.table_output import markdown
from experiments.table_rows import read_tables

_FACTS = ("commit", "dirty", "versions", "machine", "time", "seed", "precision", "command")


def write_records(table: dict[str, Any], measure: Measure, folder: Path, name: str) -> None:
    """Write ``<folder>/<name>.json``, ``.md`` and ``<folder>/runs/*.json``; each row's ``run`` names one of those."""
    links: dict[str, str] = {}
    for rows in (table["rows"], table["paper_rows"]):
        for path in (path for row in rows for path in row["run"]):
            if path not in links:
                links[path] = _write_run(Path(path), measure, folder)
    linked = {
        kind: [row | {"run": [links[path] for path in row["run"]]} for row in table[kind]]
        for kind in ("rows", "paper_rows")
    }
    write_json(folder / f"{name}.json", table | linked)
    with atomic_write(folder / f"{name}.md") as temporary:
        temporary.write_text(markdown(table, measure), encoding="utf-8")


def _write_run(tested: Path, measure: Measure, folder: Path) -> str:
    """Write what a test and the training before it were; returns the file's place below ``folder``."""
    home = tested.parent.parent
    run = Run(home.parent, home.name)
    metrics = json.loads((tested / "metrics.json").read_text(encoding="utf-8"))
    content: dict[str, Any] = {"name": run.name, "test": metrics, "cell": _json(tested / "cell.json")}
    content["errors"] = claim_errors(tested, measure)
    if (run.folder / ENVIRONMENT).is_file():
        content["training"] = {key: _json(run.folder / ENVIRONMENT).get(key) for key in _FACTS}
        content["settings"] = {key: run.settings()[key] for key in ("seed_everything", "model", "data", "trainer")}
        content["stages"] = run.stages()
    place = f"runs/{run.name}-{tested.name}.json"
    write_json(folder / place, content)
    return place


def claim_errors(tested: Path, measure: Measure) -> dict[str, dict[str, str]]:
    """Return each pair's summed error in px and its number of points, in the list's order, for the sets of the claims.

    Means, intervals and paired differences follow from these. They are strings of numbers, to keep the files small.
    """
    found = {}
    for (pair, name, framing, protocol), table in read_tables(tested, measure).items():
        if (name, framing, protocol) == measure.claim:
            sums = np.where(table.visible, table.errors, 0.0).sum(axis=1)
            counts = table.visible.sum(axis=1)
            found[pair] = {"sums": " ".join(f"{v:.2f}" for v in sums), "points": " ".join(map(str, counts))}
    return found


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
