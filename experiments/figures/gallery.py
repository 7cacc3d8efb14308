"""The rows of a table that can be drawn, and their methods: trained runs, or methods that need no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import DataError, DifeError
from dife_lightning.utils.run_folder import RunFolder
from experiments.common.jobs import read_state, state_path
from experiments.common.plan import Plan, TableRow
from experiments.common.untrained import untrained

if TYPE_CHECKING:
    from dife_lightning.methods._base import MatcherModule


@dataclass
class Gallery:
    """The rows of a figure.

    Attributes:
        plan: plan of the table.
        rows: its rows to draw.
        runs_root: folder of its runs.
        seed: seed of the runs.
        used: row -> model (or ``untrained``) -> the run's folder, or the method's class.
        left_out: one line for each row that is not drawn, with the reason.
    """

    plan: Plan
    rows: Sequence[TableRow]
    runs_root: Path
    seed: int = 0
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def run(self, row: TableRow, model: str) -> Path:
        """Return the folder of a row's run."""
        return self.runs_root / f"{row.name}-{model}-seed{self.seed}"

    def finished(self, row: TableRow, model: str) -> bool:
        """Whether a trained row has a finished run of this model."""
        run = self.run(row, model)
        found = read_state(state_path(RunFolder.at(run)))
        return run.is_dir() and found is not None and found[1]

    def require_runs(self, command: str) -> None:
        """Check that at least one trained row has a finished run of any model; ``command`` is the advice.

        Raises:
            DataError: trained rows are wanted, but none has a finished run.
        """
        trained = [row for row in self.rows if row.trained]
        if trained and not any(self.finished(row, model) for row in trained for model in self.plan.models()):
            names, where = ", ".join(row.name for row in trained), f"{self.runs_root} (seed {self.seed})"
            raise DataError(f"no finished run of {names} in {where}: train them with `{command}`, or give --runs_root")

    def models(self, row: TableRow, models: Sequence[str]) -> dict[str, MatcherModule]:
        """Return model -> method, ready for use; missing runs are added to ``left_out``.

        A row that needs no training has the same method for each model.
        """
        from dife_lightning import load

        runs = {model: self.run(row, model) for model in models}
        missing = [model for model in models if row.trained and not self.finished(row, model)]
        if missing:
            names = ", ".join(runs[model].name for model in missing)
            self.left_out.append(f"{row.name}: no finished run {names} in {self.runs_root}")
        there = [model for model in models if model not in missing]
        found: dict[str, Any]
        try:
            if row.trained:
                found, used = {m: load(runs[m]) for m in there}, {m: str(runs[m]) for m in there}
            else:
                method = untrained(row).eval()
                method.setup("test")  # missing weights are an error before anything is drawn
                found, used = dict.fromkeys(there, method), {"untrained": str(row.test)}
        except DifeError as error:
            self.left_out.append(f"{row.name}: {error}")
            return {}
        if found:
            self.used[row.name] = used
        return found
