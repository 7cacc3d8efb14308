"""A table of results for the terminal, and as Markdown, CSV, LaTeX, JSON and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dife_lightning.utils.files import atomic_write, write_json
from dife_lightning.viz.axes import dress, interval
from dife_lightning.viz.methods import drawn
from dife_lightning.viz.sheet import INK, LINES, new_figure, note_width, save_figure, title
from experiments.common.claims import Row
from experiments.common.measure import Measure
from experiments.common.plan import Plan
from experiments.tables.grid import LEGEND, claims, grid, mark, number, over
from experiments.tables.markdown import markdown

_FIELDS = (
    *("method", "pair", "list", "protocol", "framing", "pixel_error", "low", "high", "pairs", "points"),
    *("seeds", "spread", "supervision", "difference", "difference_low", "difference_high", "verdict", "paper", "run"),
)
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def write_table(table: dict[str, Any], plan: Plan, folder: Path, console: Console | None = None) -> None:
    """Print the table and write ``table.json``, ``.md``, ``.csv``, ``.tex`` and ``.png`` into ``folder``."""
    console = console or Console()
    console.print()
    console.print(rich_table(table["rows"], plan.measure))
    for text, holds in claims(table):
        mark, style = ("✓", "green") if holds else ("✗", "red")
        console.print(Text.assemble((f"  {mark} ", style), text), soft_wrap=True)
    write_json(folder / "table.json", table)
    for name, text in (
        ("table.md", markdown(table, plan)),
        ("table.csv", comma_separated(table, plan.measure)),
        ("table.tex", latex(table, plan)),
    ):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    save_figure(picture(table["rows"], plan.measure), folder / "table.png")


def rich_table(rows: Sequence[Row], measure: Measure) -> Table:
    """Return the numbers that the claims are about, as a table for a terminal."""
    _, framing, protocol = measure.claim
    found = grid(rows, protocol, framing)
    heading = f"Keypoint transfer, {protocol}, {framing}: error in px of a 70-px crop (lower is better)"
    table = Table(title=heading, title_style="bold", title_justify="left")
    table.add_column("method", no_wrap=True)
    for column in found.columns:
        table.add_column(column, justify="right")
    for method in found.methods:
        name, *words = found.words(method)
        label = Text.assemble(name, ("\n" + ", ".join(word for word in words if word), "dim"))
        table.add_row(
            label, *("" if row is None else _rich_cell(row, found.best[row["pair"]]) for row in found.row(method))
        )
    counts = ", ".join(f"{column} {found.column(column)[0]['pairs']}" for column in found.columns)
    drawn_over = over(rows)
    table.caption = f"± spread over seeds; below: 95 % interval (bootstrap over {drawn_over}). {LEGEND} Pairs: {counts}"
    return table


def _rich_cell(row: Row, best: float) -> Text:
    low, high = row["ci95"]
    style = "bold green" if row["pixel_error"] == best else ""
    paper = f"\npaper {row['paper']:.2f}" if row["paper"] is not None else ""
    return Text.assemble((number(row), style), mark(row), (f"\n{low:.2f}–{high:.2f}{paper}", "dim"))


def comma_separated(table: dict[str, Any], measure: Measure) -> str:
    """Return all rows as CSV."""
    text = io.StringIO()
    more = (*(["read_out"] if any("read_out" in row for row in table["rows"]) else []), *measure.scores)
    writer = csv.DictWriter(text, (*_FIELDS, *more), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, rows in {measure.lists[-1]: table["rows"], measure.lists[0]: table["paper_rows"]}.items():
        for row in rows:
            against = row["against"] or {"difference": None, "ci95": (None, None), "verdict": None}
            low, high = against["ci95"]
            flat = row | {"list": name, "low": row["ci95"][0], "high": row["ci95"][1]}
            flat |= {"difference_low": low, "difference_high": high, **row.get("scores", {})}
            flat |= {key: against[key] for key in ("difference", "verdict")}
            writer.writerow(flat | {key: " ".join(map(str, row[key])) for key in ("seeds", "run")})
    return text.getvalue()


def latex(table: dict[str, Any], plan: Plan) -> str:
    """Return the numbers that the claims are about as a LaTeX ``tabular``; it needs the package booktabs."""
    list_name, framing, protocol = plan.measure.claim
    found = grid(table["rows"], protocol, framing)
    heads = ["method", *(["read-out"] if found.read_outs else []), "supervision"]
    lines = [
        f"% {plan.measure.title}: {protocol}, {framing}, list '{list_name}'. Error in px of a 70-px crop, mean over",
        f"% pairs and seeds; in small print the 95 % interval over {over(table['rows'])}. "
        "Needs \\usepackage{booktabs}.",
        f"\\begin{{tabular}}{{{'l' * len(heads)}{'c' * len(found.columns)}}}",
        "\\toprule",
        " & ".join(map(escaped, (*heads, *found.columns))) + r" \\",
        "\\midrule",
    ]
    for method in found.methods:
        words = [escaped(word) for word in found.words(method)]
        cells = ["" if row is None else _latex_cell(row, found.best[row["pair"]]) for row in found.row(method)]
        lines.append(" & ".join([*words, *cells]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _latex_cell(row: Row, best: float) -> str:
    low, high = row["ci95"]
    number = f"{row['pixel_error']:.2f}"
    number = f"\\textbf{{{number}}}" if row["pixel_error"] == best else number
    spread = f" $\\pm$ {row['spread']:.2f}" if row["spread"] is not None else ""
    return f"{number}{spread} {{\\scriptsize [{low:.2f}, {high:.2f}]}}"


def escaped(text: str) -> str:
    """Return ``text`` with LaTeX's special characters escaped."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def picture(rows: Sequence[Row], measure: Measure) -> Figure:
    """Draw one panel per column: each method's error with its interval."""
    _, framing, protocol = measure.claim
    found = grid(rows, protocol, framing)
    columns, methods = found.columns, drawn(found.methods)
    left = max(1.5, *(note_width(method) for method in methods))  # names have the size of notes
    figure = new_figure(max(8.0, left + 0.5 + 2.3 * len(columns)), 1.5 + 0.34 * len(methods))  # room for the title
    width, height = figure.get_size_inches()
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.95 / height, wspace=0.12)
    for axes, column in zip(panels, columns, strict=True):
        _panel(axes, column, methods, [found.cells.get((method, column)) for method in methods])
    title(figure, f"{measure.title}, {protocol}, {framing}", "px of a 70-px crop, lower is better")
    return figure


def _panel(axes: Any, column: str, methods: Sequence[str], rows: Sequence[Row | None]) -> None:
    for place, (method, row) in enumerate(zip(methods, rows, strict=True)):
        if row is None:
            continue
        mean, high = row["pixel_error"], row["ci95"][1]
        interval(axes, place, (mean, *row["ci95"]), LINES[1 if method == "dife" else 0], upright=False)
        look = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": INK}
        axes.annotate(f"{mean:.2f}", (high, place), (5, 0), **look)
    dress(axes, grid="x")
    axes.set_yticks(range(len(methods)), methods, fontsize=9, color=INK)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.3 * (high - low))  # room for the numbers
    axes.set_title(column, fontsize=10, color=INK)
