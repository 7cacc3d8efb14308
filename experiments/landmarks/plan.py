"""The content of a table of landmark models, read from a file in ``plans``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.yaml_text import load_yaml

#: Folder of the shipped plans.
PLANS = Path(__file__).resolve().parent / "plans"


@dataclass(frozen=True)
class LandmarkRow:
    """A row: a training (``fit``) or a method without one (``test``).

    Attributes:
        name: of the row and of its runs.
        fit: configurations of the training.
        test: configurations of a method that needs no training.
        set: dotted settings that replace those of the configurations.
        labels: setting that holds the number of labelled faces; the learning curve changes it.
        optional: leave the row out if files or packages that it needs are missing.
        supervision: what people had to label for it.
        note: explanation for readers of the table.
    """

    name: str
    fit: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)
    labels: str = "data.init_args.labels"
    optional: bool = False
    supervision: str = "40 labels"
    note: str = ""

    @property
    def configs(self) -> tuple[str, ...]:
        """The configurations of its command."""
        return self.fit or self.test


@dataclass(frozen=True)
class LandmarkPlan:
    """A table.

    Attributes:
        title: heading.
        rows: of the table, the reference row among them.
        reference: row that all others are compared with.
        ablation: rows in the order in which each should be better than the one before.
        labels: number of labelled faces in the configurations of the rows.
        curve: numbers of labels of the learning curve.
        curve_rows: rows of it.
        goals: group -> share of the supervised row's error that the reference row may have at most.
        supervised: the row of ``goals``.
        trainer: preset of the trainings.
    """

    title: str
    rows: tuple[LandmarkRow, ...]
    reference: str
    ablation: tuple[str, ...] = ()
    labels: int = 40
    curve: tuple[int, ...] = ()
    curve_rows: tuple[str, ...] = ()
    goals: Mapping[str, float] = field(default_factory=dict)
    supervised: str = "supervised"
    trainer: str = "trainer/cpu"

    def only(self, rows: Sequence[str] | None) -> LandmarkPlan:
        """Return the plan of some rows; ConfigError for an unknown one."""
        known = [row.name for row in self.rows]
        for name in rows or ():
            if name not in known:
                raise ConfigError(f"no row '{name}' in the table. {did_you_mean(name, known)}")
        if rows is None:
            return self
        curve_rows = tuple(name for name in self.curve_rows if name in rows)
        return replace(self, rows=tuple(row for row in self.rows if row.name in rows), curve_rows=curve_rows)

    def row(self, name: str) -> LandmarkRow:
        """Return the row of a name."""
        return next(row for row in self.rows if row.name == name)


def read_plan(name: str) -> LandmarkPlan:
    """Read a shipped plan by its name, or a file; ConfigError if there is none, or a key is unknown."""
    path = PLANS / f"{name}.yaml" if not name.endswith(".yaml") else Path(name)
    if not path.is_file():
        known = sorted(plan.stem for plan in PLANS.glob("*.yaml"))
        raise ConfigError(f"no plan '{name}'. {did_you_mean(name, known)}")
    content = load_yaml(path.read_text(encoding="utf-8"))
    rows = [_row(row, entry or {}) for row, entry in content.pop("rows").items()]
    lists: dict[str, Any] = {key: tuple(content.pop(key)) for key in _TUPLES if key in content}
    try:
        plan = LandmarkPlan(rows=tuple(rows), **lists, **content)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from None
    names = [row.name for row in plan.rows]
    for key in (plan.reference, plan.supervised, *plan.ablation, *plan.curve_rows):
        if key not in names:
            raise ConfigError(f"{path}: no row '{key}'. {did_you_mean(key, names)}")
    return plan


def _row(name: str, entry: Mapping[str, Any]) -> LandmarkRow:
    parts = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in entry.items() if key in _LISTS}
    try:
        row = LandmarkRow(name, **{**entry, **parts})
    except TypeError as error:
        raise ConfigError(f"row '{name}': {error}") from None
    if bool(row.fit) == bool(row.test):
        raise ConfigError(f"row '{name}': expected either fit or test")
    return row


_LISTS, _TUPLES = ("fit", "test"), ("ablation", "curve", "curve_rows")
