"""Analyses as files: JSON, CSV, Markdown and pictures of each, and one page with all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dife_lightning.utils.files import atomic_write, write_json
from dife_lightning.viz.sheet import save_figure
from experiments.analyses.numbers import Row


@dataclass
class Result:
    """One analysis.

    Attributes:
        name: stem of its files.
        title: heading on the page.
        tables: stem of a CSV file -> its rows.
        text: Markdown below the heading.
        figures: stem -> picture, or a function that draws it.
    """

    name: str
    title: str
    tables: Mapping[str, Sequence[Row]]
    text: Sequence[str]
    figures: Mapping[str, Figure | Callable[[], Figure]] = field(default_factory=dict)


def write_result(result: Result, folder: Path, facts: Mapping[str, Any]) -> list[str]:
    """Write the files of an analysis; returns the lines of its section of the page."""
    write_json(folder / f"{result.name}.json", {**result.tables, **facts})
    for stem, rows in result.tables.items():
        write_text(folder / f"{stem}.csv", comma_separated(rows))
    pictures = []
    for stem, figure in result.figures.items():
        save_figure(figure() if callable(figure) else figure, folder / f"{stem}.png")
        pictures += [f"![{Path(stem).name}]({stem}.png)", ""]
    lines = [f"## {result.title}", "", *result.text, "", *pictures]
    write_text(folder / f"{result.name}.md", "\n".join(lines).replace("## ", "# ", 1))
    return lines


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def comma_separated(rows: Sequence[Row]) -> str:
    """Return rows as CSV, with an interval's ends in the last two columns and unknown values left empty."""
    text, names = io.StringIO(), list(dict.fromkeys(name for row in rows for name in _flat(row)))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_flat, rows))
    return text.getvalue()


def _flat(row: Row) -> Row:
    ends = dict(zip(("low95", "high95"), row["ci95"] or (None, None), strict=True)) if "ci95" in row else {}
    return {key: value for key, value in row.items() if key != "ci95"} | ends


def markdown_table(
    rows: Sequence[Row],
    *,
    column: str,
    value: str,
    show: Callable[[float], str] = lambda number: f"{number:.2f}",
    best: Callable[[Sequence[float]], float] | None = min,
) -> list[str]:
    """Return the lines of a table with a row per method and a column per value of ``column``, with intervals.

    Args:
        rows: rows of one kind of pair.
        column: key of the columns.
        value: key of the number.
        show: formats a number.
        best: returns the number of a column that is bold; None for none.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    names = list(dict.fromkeys(row[column] for row in rows))
    cells = {(row["method"], row[column]): row for row in rows}
    lines = [f"| method | {' | '.join(str(name).replace('_', ' ') for name in names)} |", f"|---|{'---|' * len(names)}"]
    for method in methods:
        found = []
        for name in names:
            numbers = [row[value] for key, row in cells.items() if key[1] == name and row[value] is not None]
            top = best(numbers) if best is not None and numbers else None
            found.append(_cell(cells.get((method, name)), value, show, top))
        lines.append(f"| {method} | {' | '.join(found)} |")
    return lines


def _cell(row: Row | None, value: str, show: Callable[[float], str], top: float | None) -> str:
    if row is None or row[value] is None:
        return ""
    text = f"**{show(row[value])}**" if row[value] == top else show(row[value])
    low, high = row["ci95"]
    return f"{text} [{show(low)}, {show(high)}]"
