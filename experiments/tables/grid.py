"""The rows of a table as a grid of methods and columns, and its claims in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dife_lightning.metrics.bootstrap import said_over
from experiments.common.claims import Row

LEGEND = "=: tied with the reference row on the same pairs (the interval contains 0); <: better than it."
#: Verdict of the paired comparison with the reference row -> mark behind a number.
MARKS = {"better": "", "tie": " =", "worse": " <"}


@dataclass(frozen=True)
class Grid:
    """The rows of one protocol and framing as a grid of methods and columns."""

    methods: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], Row]

    @property
    def best(self) -> dict[str, float]:
        """Column -> smallest error."""
        return {c: min(row["pixel_error"] for row in self.column(c)) for c in self.columns}

    @property
    def read_outs(self) -> bool:
        """Whether a method says how its answer is read."""
        return any("read_out" in row for row in self.cells.values())

    def row(self, method: str) -> list[Row | None]:
        """Return the cells of a method; None where it is not in a column."""
        return [self.cells.get((method, column)) for column in self.columns]

    def column(self, column: str) -> list[Row]:
        """Return the cells of a column."""
        return [row for (_, own), row in self.cells.items() if own == column]

    def words(self, method: str) -> list[str]:
        """Return the method, its read-out if any method has one, and its supervision."""
        row = next(row for (own, _), row in self.cells.items() if own == method)
        return [method, *([row.get("read_out", "")] if self.read_outs else []), row["supervision"]]


def grid(rows: Sequence[Row], protocol: str, framing: str) -> Grid:
    """Return the rows of one protocol and framing."""
    chosen = [row for row in rows if (row["protocol"], row["framing"]) == (protocol, framing)]
    methods, columns = (list(dict.fromkeys(row[key] for row in chosen)) for key in ("method", "pair"))
    return Grid(methods, columns, {(row["method"], row["pair"]): row for row in chosen})


def number(row: Row) -> str:
    """Return an error, with the spread over seeds if there are several."""
    spread = f" ± {row['spread']:.2f}" if row["spread"] is not None else ""
    return f"{row['pixel_error']:.2f}{spread}"


def mark(row: Row) -> str:
    """Return the mark behind a number: tied with the reference row, or better."""
    return "" if row["against"] is None else MARKS[row["against"]["verdict"]]


def over(rows: Sequence[Row]) -> str:
    """Return in words what the intervals of some rows are over."""
    return said_over({row.get("interval", "pairs") for row in rows})


def claims(table: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return each comparison and ratio in words, and whether it holds."""
    found = []
    for entry in table["comparisons"]:
        low, high = entry["ci95"]
        said = {"better": "held", "tie": "tied", "worse": "reversed"}[entry["verdict"]]
        numbers = f"{entry['difference']:+.2f} px [{low:+.2f}, {high:+.2f}]: {said}"
        framing = f", {entry['framing']}" if entry["framing"] != table["claim"]["framing"] else ""
        found.append((f"{entry['pair']}{framing}: {entry['worse']} − {entry['better']} = {numbers}", entry["holds"]))
    for entry in table["ratios"]:
        text = f"{entry['pair']}: dife / {entry['other']} = {entry['value']:.2f} (limit {entry['limit']:.2f})"
        found.append((text, entry["holds"]))
    return found
