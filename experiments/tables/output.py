"""A table of results for the terminal, and as Markdown, CSV, LaTeX, JSON and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dife_lightning.metrics.bootstrap import said_over
from dife_lightning.utils.files import atomic_write, write_json
from dife_lightning.viz.axes import dress, interval
from dife_lightning.viz.methods import drawn
from dife_lightning.viz.sheet import INK, LINES, new_figure, save_figure, title
from experiments.common.claims import Row
from experiments.common.measure import Measure
from experiments.common.plan import Plan

_FIELDS = (
    *("method", "pair", "list", "protocol", "framing", "pixel_error", "low", "high", "pairs", "points"),
    *("seeds", "spread", "supervision", "difference", "difference_low", "difference_high", "verdict", "paper", "run"),
)
LEGEND = "=: tied with the reference row on the same pairs (the interval contains 0); <: better than it."
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}
#: Verdict of the paired comparison with the reference row -> mark behind a number.
MARKS = {"better": "", "tie": " =", "worse": " <"}


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


@dataclass(frozen=True)
class Grid:
    """The rows of one protocol and framing as a grid of methods and columns."""

    methods: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], Row]

    @property
    def best(self) -> dict[str, float]:
        """Column -> smallest error."""
        return {c: min(self.cells[method, c]["pixel_error"] for method in self.methods) for c in self.columns}

    def row(self, method: str) -> list[Row]:
        """Return the cells of a method."""
        return [self.cells[method, column] for column in self.columns]


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


def _over(rows: Sequence[Row]) -> str:
    """Return in words what the intervals of some rows are over."""
    return said_over({row.get("interval", "pairs") for row in rows})


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
        cells = found.row(method)
        label = Text.assemble(method, (f"\n{cells[0]['supervision']}", "dim"))
        table.add_row(label, *(_rich_cell(row, found.best[row["pair"]]) for row in cells))
    counts = ", ".join(f"{row['pair']} {row['pairs']}" for row in found.row(found.methods[0]))
    over = _over(rows)
    table.caption = f"± spread over seeds; below: 95 % interval (bootstrap over {over}). {LEGEND} Pairs: {counts}"
    return table


def _rich_cell(row: Row, best: float) -> Text:
    low, high = row["ci95"]
    style = "bold green" if row["pixel_error"] == best else ""
    paper = f"\npaper {row['paper']:.2f}" if row["paper"] is not None else ""
    return Text.assemble((number(row), style), mark(row), (f"\n{low:.2f}–{high:.2f}{paper}", "dim"))


def claims(table: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return each comparison and ratio in words, and whether it holds."""
    found = []
    for entry in table["comparisons"]:
        low, high = entry["ci95"]
        said = {"better": "held", "tie": "tied", "worse": "reversed"}[entry["verdict"]]
        numbers = f"{entry['difference']:+.2f} px [{low:+.2f}, {high:+.2f}]: {said}"
        found.append((f"{entry['pair']}: {entry['worse']} − {entry['better']} = {numbers}", entry["holds"]))
    for entry in table["ratios"]:
        text = f"{entry['pair']}: dife / {entry['other']} = {entry['value']:.2f} (limit {entry['limit']:.2f})"
        found.append((text, entry["holds"]))
    return found


def markdown(table: dict[str, Any], plan: Plan) -> str:
    """Return all protocols and framings on the list of the claims, then on the paper's list, and the claims."""
    measure = plan.measure
    parts = [f"# {measure.title}", ""]
    parts += [
        "Error in px of a 70-px crop, lower is better; ± is the spread over seeds, [ ] the 95 % interval over "
        f"{_over([*table['rows'], *table['paper_rows']])}. {LEGEND}"
    ]
    parts += ["", *(f"- `{name}`: {note}" for name, note in table["notes"].items())]
    parts += [f"- `{name}` is left out: {reason}" for name, reason in table["left_out"].items()]
    lists = {f"List '{measure.lists[-1]}'": table["rows"], f"List '{measure.lists[0]}'": table["paper_rows"]}
    for name, rows in lists.items():
        for protocol in measure.protocols:
            for framing in measure.framings:
                parts += ["", f"## {name}: {protocol}, {framing}", "", *markdown_grid(rows, protocol, framing)]
    name, framing, protocol = measure.claim
    parts += ["", f"## Claims ({protocol}, {framing}, list '{name}')", ""]
    parts += [f"- {'holds' if holds else 'does NOT hold'}: {text}" for text, holds in claims(table)]
    return "\n".join(parts) + "\n"


def markdown_grid(rows: Sequence[Row], protocol: str, framing: str) -> list[str]:
    """Return the lines of one Markdown table; the paper's figures, on other photographs, have rows of their own."""
    found = grid(rows, protocol, framing)
    lines = [f"| method | supervision | {' | '.join(found.columns)} |", f"|---|---|{'---|' * len(found.columns)}"]
    for method in found.methods:
        cells = found.row(method)
        shown = " | ".join(_markdown_cell(row, found.best[row["pair"]]) for row in cells)
        lines.append(f"| {method} | {cells[0]['supervision']} | {shown} |")
        if any(row["paper"] is not None for row in cells):
            shown = " | ".join("" if row["paper"] is None else f"*{row['paper']:.2f}*" for row in cells)
            lines.append(f"| *{method}'s role in the paper, on other data* | | {shown} |")
    return lines


def _markdown_cell(row: Row, best: float) -> str:
    low, high = row["ci95"]
    text = f"**{number(row)}**" if row["pixel_error"] == best else number(row)
    return f"{text}{mark(row)} [{low:.2f}, {high:.2f}]"


def comma_separated(table: dict[str, Any], measure: Measure) -> str:
    """Return all rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, rows in {measure.lists[-1]: table["rows"], measure.lists[0]: table["paper_rows"]}.items():
        for row in rows:
            against = row["against"] or {"difference": None, "ci95": (None, None), "verdict": None}
            low, high = against["ci95"]
            flat = row | {"list": name, "low": row["ci95"][0], "high": row["ci95"][1]}
            flat |= {"difference_low": low, "difference_high": high}
            flat |= {key: against[key] for key in ("difference", "verdict")}
            writer.writerow(flat | {key: " ".join(map(str, row[key])) for key in ("seeds", "run")})
    return text.getvalue()


def latex(table: dict[str, Any], plan: Plan) -> str:
    """Return the numbers that the claims are about as a LaTeX ``tabular``; it needs the package booktabs."""
    list_name, framing, protocol = plan.measure.claim
    found = grid(table["rows"], protocol, framing)
    lines = [
        f"% {plan.measure.title}: {protocol}, {framing}, list '{list_name}'. Error in px of a 70-px crop, mean over",
        f"% pairs and seeds; in small print the 95 % interval over {_over(table['rows'])}. "
        "Needs \\usepackage{booktabs}.",
        f"\\begin{{tabular}}{{ll{'c' * len(found.columns)}}}",
        "\\toprule",
        " & ".join(map(escaped, ("method", "supervision", *found.columns))) + r" \\",
        "\\midrule",
    ]
    for method in found.methods:
        cells = found.row(method)
        words = [escaped(method), escaped(cells[0]["supervision"])]
        lines.append(" & ".join([*words, *(_latex_cell(row, found.best[row["pair"]]) for row in cells)]) + r" \\")
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
    figure = new_figure(max(8.0, 2.0 + 2.3 * len(columns)), 1.5 + 0.34 * len(methods))  # room for the title
    width, height = figure.get_size_inches()
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(1.5 / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.95 / height, wspace=0.12)
    for axes, column in zip(panels, columns, strict=True):
        _panel(axes, column, methods, [found.cells[method, column] for method in methods])
    title(figure, f"{measure.title}, {protocol}, {framing}", "px of a 70-px crop, lower is better")
    return figure


def _panel(axes: Any, column: str, methods: Sequence[str], rows: Sequence[Row]) -> None:
    for place, (method, row) in enumerate(zip(methods, rows, strict=True)):
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
