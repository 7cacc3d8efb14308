"""The rows of an analysis as files (JSON, CSV, Markdown) and as panels of charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.utils.files import atomic_write, write_json
from dife_lightning.viz.methods import Estimate, Panel
from dife_lightning.viz.pck import Curves, pck_chart
from dife_lightning.viz.sheet import save_figure
from experiments.analyses.numbers import Row


class Result(NamedTuple):
    """One analysis: heading on the page, stem of a CSV file -> rows, Markdown, and stem -> function that draws it."""

    title: str
    tables: Mapping[str, Sequence[Row]]
    text: Sequence[str]
    figures: Mapping[str, Callable[[], Figure]]


def write_result(name: str, result: Result, folder: Path, facts: Mapping[str, Any]) -> list[str]:
    """Write the files of an analysis; returns the lines of its section of the page."""
    write_json(folder / f"{name}.json", {**result.tables, **facts})
    for stem, rows in result.tables.items():
        write_text(folder / f"{stem}.csv", comma_separated(rows))
    pictures = []
    for stem, draw in result.figures.items():
        save_figure(draw(), folder / f"{stem}.png")
        pictures += [f"![{Path(stem).name}]({stem}.png)", ""]
    lines = [f"## {result.title}", "", *result.text, "", *pictures]
    write_text(folder / f"{name}.md", "\n".join(lines).replace("## ", "# ", 1))
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


def by_pair(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return kind of pair -> its rows."""
    return {pair: [row for row in rows if row["pair"] == pair] for pair in dict.fromkeys(row["pair"] for row in rows)}


def markdown_table(
    rows: Sequence[Row],
    *,
    column: str,
    value: str,
    show: Callable[[float], str] = "{:.2f}".format,
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
    names = list(dict.fromkeys(row[column] for row in rows))
    numbers = {name: [r[value] for r in rows if r[column] == name and r[value] is not None] for name in names}
    tops = {name: best(found) for name, found in numbers.items() if found} if best is not None else {}
    cells = {(row["method"], row[column]): _cell(row, value, show, tops.get(row[column])) for row in rows}
    lines = [f"| method | {' | '.join(str(name).replace('_', ' ') for name in names)} |", f"|---|{'---|' * len(names)}"]
    for method in dict.fromkeys(row["method"] for row in rows):
        lines.append(f"| {method} | {' | '.join(cells.get((method, name), '') for name in names)} |")
    return lines


def _cell(row: Row, value: str, show: Callable[[float], str], top: float | None) -> str:
    if row[value] is None:
        return ""
    text = f"**{show(row[value])}**" if row[value] == top else show(row[value])
    low, high = row["ci95"]
    return f"{text} [{show(low)}, {show(high)}]"


def panels_of(
    rows: Sequence[Row],
    column: str,
    value: str,
    label: Callable[[Row], str],
    notes: Mapping[tuple[str, str], str] | None = None,
    note_of: str = "",
) -> list[Panel]:
    """Return a panel for each kind of pair, with a category for each value of ``column``.

    Args:
        rows: method x kind of pair x column.
        column: key of the categories.
        value: key of the number.
        label: returns the label of a category from one of its rows.
        notes: (kind of pair, method) -> note beside the panel's title.
        note_of: what the notes are.
    """
    found = []
    for pair, own in by_pair(rows).items():
        labels = {row[column]: label(row) for row in own}
        cells = {(row["method"], row[column]): _estimate(row, value) for row in own}
        methods = dict.fromkeys(row["method"] for row in own)
        values = {name: [cells.get((name, key)) for key in labels] for name in methods}
        beside = {name: (notes or {})[pair, name] for name in methods if (pair, name) in (notes or {})}
        found.append(Panel(pair, list(labels.values()), values, beside, note_of))
    return found


def _estimate(row: Row, value: str) -> Estimate | None:
    return None if row[value] is None or row["ci95"] is None else (row[value], *row["ci95"])


def pck_figure(curve: Sequence[Row], areas: Sequence[Row], length: str, what: str, over: str = "pairs") -> Figure:
    """Draw the PCK curves of the methods that have an area, with intervals over ``over``."""
    area = {(row["pair"], row["method"]): row["area"] for row in areas if row["area"] is not None}
    panels = []
    for pair, rows in by_pair(curve).items():
        own = [row for row in rows if (pair, row["method"]) in area]
        at = np.array(sorted({row["threshold"] for row in own}))
        methods = dict.fromkeys(row["method"] for row in own)
        shares = {name: np.array([_estimate(row, "pck") for row in own if row["method"] == name]) for name in methods}
        panels.append(Curves(pair, at, shares, {name: area[pair, name] for name in shares}))
    note = f"{what}; bands: 95 % interval over {over}; area: mean PCK over the thresholds"
    return pck_chart(panels, heading="Points within a threshold", note=note, xlabel=f"threshold, share of {length}")


def signed(number: float) -> str:
    """Return a number with its sign and two decimals; zero has no sign."""
    text = f"{abs(number):.2f}"
    sign = "" if float(text) == 0 else "+" if number > 0 else "−"
    return f"{sign}{text}"


def two_lines(name: str) -> str:
    """Return a landmark's name on two lines of similar length: ``left_eye_outer`` becomes left eye / outer."""
    words = name.split("_")
    if len(words) == 1:
        return name
    cut = min(reversed(range(1, len(words))), key=lambda i: abs(len(" ".join(words[:i])) - len(" ".join(words[i:]))))
    return f"{' '.join(words[:cut])}\n{' '.join(words[cut:])}"
