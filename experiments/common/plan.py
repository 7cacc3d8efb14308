"""The content of a table of results, read from a file such as ``experiments/tables/plans/table1.yaml``."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.yaml_text import load_yaml
from experiments.common.claims import COMPARISONS, RATIO_LIMITS
from experiments.common.measure import Measure

#: Folder of the shipped plans.
PLANS = Path(__file__).resolve().parents[1] / "tables" / "plans"
#: Seeds from this number on are not looked for.
MOST_SEEDS = 10
_KINDS = ("test", "fit", "control", "start", "of")


@dataclass(frozen=True)
class Column:
    """A column: a model, and the kinds of pairs that it is tested on together."""

    name: str
    model: str
    pairs: tuple[str, ...]


@dataclass(frozen=True)
class TableRow:
    """A row: exactly one of ``test``, ``fit``, ``control``, ``start`` and ``of`` is given.

    Attributes:
        name: name of the method in the results, and of its runs; rows of the same name in two tables share their runs.
        test: class of a method that needs no training.
        arguments: arguments of that class.
        fit: configuration of a training, or several; ``{model}`` stands for the column's model.
        control: the row whose warm-up is continued without matching, for as long as its matching took.
        start: the row from whose warm-up the training continues, with ``set``, up to that row's last step.
        of: the row whose runs are tested once more, with another ``window``.
        set: dotted settings that replace those of the configuration.
        steps: the row whose number of steps a ``fit`` takes.
        window: side of the window of a soft-argmax as the read-out; 0 for the nearest neighbour, None does so too, and
            the table does not say it.
        columns: the columns that the row is in; all by default.
        first: number of pairs of each list to test, for a slow method; None tests all.
        optional: leave the row out, with the reason in the table, if weights or a package that it needs are missing.
        supervision: what people had to label for it.
        note: explanation of the row for readers of the table.
    """

    name: str
    test: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    fit: str | list[str] | None = None
    control: str | None = None
    start: str | None = None
    of: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    steps: str | None = None
    window: float | None = None
    columns: list[str] | None = None
    first: int | None = None
    optional: bool = False
    supervision: str = ""
    note: str = ""

    @property
    def trained(self) -> bool:
        """Whether there is one run for each model and seed."""
        return self.test is None

    @property
    def needs(self) -> list[str]:
        """Rows that must have been trained before."""
        return [name for name in (self.control, self.start, self.steps, self.of) if name is not None]

    @property
    def read_out(self) -> str | None:
        """How an embedder's answer is read from its map, in words; None where the plan does not say."""
        return None if self.window is None else f"window {self.window:g}" if self.window else "nearest"

    def in_column(self, name: str) -> bool:
        """Return whether the row is in a column."""
        return self.columns is None or name in self.columns


@dataclass(frozen=True)
class Plan:
    """A whole table.

    Attributes:
        columns: columns of the table.
        rows: rows of the table.
        paper: row -> protocol -> column -> the paper's figure.
        measure: the pairs.
        trainer: preset of the trainings.
        comparisons: (worse, better) pairs of rows that the table makes a claim about, with a third part for a framing
            that is not the one of the claims.
        ratios: row -> the share of its error that DIFE's may be at most.
        reference: the row that all others are compared with.
        files: ``own/...`` name -> what makes that file, for the message where it is missing.
    """

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    paper: dict[str, dict[str, dict[str, float]]]
    measure: Measure = field(default_factory=Measure)
    trainer: str = "trainer/cpu"
    comparisons: tuple[tuple[str, ...], ...] = COMPARISONS
    ratios: dict[str, float] = field(default_factory=lambda: dict(RATIO_LIMITS))
    reference: str = "dife"
    files: dict[str, str] = field(default_factory=dict)

    def only(self, columns: Sequence[str] | None, rows: Sequence[str] | None) -> Plan:
        """Return the plan of some columns and rows, including the rows that must be trained before these.

        Raises:
            ConfigError: a name is not in the plan.
        """
        check_names("no column {} in the table", columns, [c.name for c in self.columns])
        check_names("no row {} in the table", rows, [r.name for r in self.rows])
        chosen, names = set(columns or [c.name for c in self.columns]), set(rows or [r.name for r in self.rows])
        for row in reversed(self.in_order()):
            if row.name in names:
                names |= set(row.needs)
        kept = tuple(c for c in self.columns if c.name in chosen)
        own = tuple(r for r in self.rows if r.name in names and any(r.in_column(c.name) for c in kept))
        return replace(self, columns=kept, rows=own)

    def without(self, rows: Collection[str]) -> Plan:
        """Return the plan without some rows."""
        return replace(self, rows=tuple(r for r in self.rows if r.name not in rows))

    def where(self, tested: Collection[tuple[str, str]]) -> Plan:
        """Return the plan whose rows are in the columns alone of whose models they have a test, as (row, model)."""
        rows = []
        for row in self.rows:
            own = [c.name for c in self.columns if row.in_column(c.name) and (row.name, c.model) in tested]
            every = [c.name for c in self.columns if row.in_column(c.name)]
            rows.append(row if own == every else replace(row, columns=own))
        return replace(self, rows=tuple(rows))

    def row(self, name: str) -> TableRow:
        """Return the row of a name."""
        return next(row for row in self.rows if row.name == name)

    def first_of(self, *names: str) -> int | None:
        """Return the number of pairs of each list that all these rows were tested on; None for all pairs."""
        return min((row.first for row in self.rows if row.name in names and row.first), default=None)

    def in_order(self) -> list[TableRow]:
        """Return the rows, each after those that it needs.

        Raises:
            ConfigError: rows need each other in a circle.
        """
        found: list[TableRow] = []
        left = list(self.rows)
        while left:
            ready = [row for row in left if not set(row.needs) & {other.name for other in left}]
            if not ready:
                raise ConfigError(f"rows {', '.join(row.name for row in left)} of the plan wait for each other")
            found += ready
            left = [row for row in left if row not in ready]
        return found

    def models(self, row: TableRow | None = None) -> dict[str, list[str]]:
        """Return model -> the kinds of pairs on which it is tested, in order; those of one row, or of all."""
        found: dict[str, list[str]] = {}
        for column in (c for c in self.columns if row is None or row.in_column(c.name)):
            kinds = found.setdefault(column.model, [])
            kinds += [pair for pair in column.pairs if pair not in kinds]
        return found

    def pairs(self) -> list[str]:
        """Return all kinds of pairs, in order."""
        return list(dict.fromkeys(pair for column in self.columns for pair in column.pairs))

    def published(self, row: str, protocol: str, column: str) -> float | None:
        """Return the paper's number, or None if it has none."""
        return self.paper.get(row, {}).get(protocol, {}).get(column)


def read_plan(path: str | Path) -> Plan:
    """Read a plan; its ``base`` names other files, which give the top-level parts that this one does not have.

    A row that is in none of the columns is left out.

    Raises:
        ConfigError: a column or row without its parts.
    """
    content = plan_content(Path(path))
    columns = tuple(Column(name, c["model"], tuple(c["pairs"])) for name, c in content["columns"].items())
    try:
        rows = tuple(TableRow(name, **entry) for name, entry in content["rows"].items())
        measure = Measure(**content.get("measure", {}))
    except TypeError as error:
        raise ConfigError(f"{path}: {str(error).partition('() ')[2] or error}") from None
    for row in rows:
        _check(row, [row.name for row in rows], path)
        check_names(f"{path}, row '{row.name}': no column {{}}", row.columns, content["known_columns"])
    more: dict[str, Any] = {key: content[key] for key in ("trainer", "ratios", "reference", "files") if key in content}
    if "comparisons" in content:
        more["comparisons"] = tuple(tuple(both) for both in content["comparisons"])
    kept = tuple(row for row in rows if any(row.in_column(column.name) for column in columns))
    return Plan(columns, kept, content.get("paper", {}), measure, **more)


def plan_content(path: Path) -> dict[str, Any]:
    """Return the content of a plan's file, with that of its bases; ``known_columns`` are those of all of them."""
    content = load_yaml(path.read_text(encoding="utf-8"))
    base = content.pop("base", [])
    bases = [plan_content(path.parent / name) for name in ([base] if isinstance(base, str) else base)]
    columns = [name for part in (*bases, content) for name in part.get("known_columns", part.get("columns", {}))]
    return dict(ChainMap(content, *reversed(bases))) | {"known_columns": columns}


def _check(row: TableRow, names: Sequence[str], path: str | Path) -> None:
    if sum(getattr(row, kind) is not None for kind in _KINDS) != 1:
        raise ConfigError(f"{path}, row '{row.name}': give exactly one of {', '.join(_KINDS)}")
    if row.test is None and (row.of is None) == bool(row.window):
        raise ConfigError(f"{path}, row '{row.name}': a trained row has its window in a row of its own, with `of`")
    if row.first is not None and row.first < 1:
        raise ConfigError(f"{path}, row '{row.name}': first is {row.first}, expected 1 or more")
    check_names(f"{path}, row '{row.name}': no row {{}}", row.needs, names)


def check_names(text: str, names: Iterable[str] | None, known: Collection[str]) -> None:
    """Check that all ``names`` are known.

    Args:
        text: start of the message, with ``{}`` in place of the name.
        names: None checks nothing.
        known: the names that exist.

    Raises:
        ConfigError: a name is unknown.
    """
    for name in names or ():
        if name not in known:
            raise ConfigError(f"{text.format(repr(name))}. {did_you_mean(name, known)}")
