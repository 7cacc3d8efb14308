"""What a table of results consists of, read from a file such as ``experiments/table1.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.errors import ConfigError, did_you_mean
from experiments.measure import Measure

_KINDS = ("test", "fit", "control")


@dataclass(frozen=True)
class Column:
    """A column: the model that it is about, and the kinds of pairs on which that is tested, all together."""

    name: str
    model: str
    pairs: tuple[str, ...]


@dataclass(frozen=True)
class TableRow:
    """A row: exactly one of ``test``, ``fit`` and ``control`` is given.

    Attributes:
        name: of the method in the results.
        test: class of a method that needs no training.
        arguments: of that class.
        fit: configuration of a training, or several; ``{model}`` stands for the column's model.
        control: the row whose warm-up is trained on in equal time.
    """

    name: str
    test: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    fit: str | list[str] | None = None
    control: str | None = None

    @property
    def trained(self) -> bool:
        """Whether there is one run for each model and seed."""
        return self.test is None


@dataclass(frozen=True)
class Plan:
    """A whole table; ``paper`` maps row, protocol and column to the paper's figure, ``trainer`` is a preset."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    paper: dict[str, dict[str, dict[str, float]]]
    measure: Measure = field(default_factory=Measure)
    trainer: str = "trainer/cpu"

    def only(self, columns: Sequence[str] | None, rows: Sequence[str] | None) -> Plan:
        """Return the plan of some columns and rows; a control brings the row that it starts from.

        Raises:
            ConfigError: a name is not in the plan.
        """
        chosen = _chosen("column", columns, [c.name for c in self.columns])
        names = _chosen("row", rows, [r.name for r in self.rows])
        names |= {r.control for r in self.rows if r.name in names and r.control is not None}
        return Plan(
            tuple(c for c in self.columns if c.name in chosen),
            tuple(r for r in self.rows if r.name in names),
            self.paper,
            self.measure,
            self.trainer,
        )

    def row(self, name: str) -> TableRow:
        """Return the row of a name."""
        return next(row for row in self.rows if row.name == name)

    def models(self) -> dict[str, list[str]]:
        """Return model -> the kinds of pairs on which it is tested, in order."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            kinds = found.setdefault(column.model, [])
            kinds += [pair for pair in column.pairs if pair not in kinds]
        return found

    def pairs(self) -> list[str]:
        """Return all kinds of pairs, in order."""
        return list(dict.fromkeys(pair for column in self.columns for pair in column.pairs))

    def published(self, row: str, protocol: str, column: str) -> float | None:
        """Return the paper's figure, None where it has none."""
        return self.paper.get(row, {}).get(protocol, {}).get(column)


def read_plan(path: str | Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: a column or row without its parts.
    """
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    columns = tuple(Column(name, c["model"], tuple(c["pairs"])) for name, c in content["columns"].items())
    rows = tuple(TableRow(name, **entry) for name, entry in content["rows"].items())
    names = [row.name for row in rows]
    for row in rows:
        if sum(getattr(row, kind) is not None for kind in _KINDS) != 1:
            raise ConfigError(f"{path}, row '{row.name}': give exactly one of {', '.join(_KINDS)}")
        if row.control is not None and row.control not in names:
            raise ConfigError(f"{path}, row '{row.name}': control {did_you_mean(row.control, names)}")
    try:
        measure = Measure(**content.get("measure", {}))
    except TypeError as error:
        raise ConfigError(f"{path}, measure: {error}") from None
    return Plan(columns, rows, content.get("paper", {}), measure, content.get("trainer", "trainer/cpu"))


def _chosen(what: str, wanted: Sequence[str] | None, known: Sequence[str]) -> set[str]:
    for name in wanted or ():
        if name not in known:
            raise ConfigError(f"no {what} '{name}' in the table. {did_you_mean(name, known)}")
    return set(wanted or known)
