"""A table of results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.common.claims import Row
from experiments.common.measure import SCORES
from experiments.common.plan import Plan
from experiments.tables.grid import LEGEND, Grid, claims, grid, mark, number, over


def markdown(table: dict[str, Any], plan: Plan) -> str:
    """Return all protocols and framings on the list of the claims, then on the paper's list, and the claims."""
    measure = plan.measure
    parts = [f"# {measure.title}", ""]
    parts += [
        "Error in px of a 70-px crop, lower is better; ± is the spread over seeds, [ ] the 95 % interval over "
        f"{over([*table['rows'], *table['paper_rows']])}. {LEGEND}"
    ]
    parts += ["", *(f"- `{name}`: {note}" for name, note in table["notes"].items())]
    parts += [f"- `{name}` is left out: {reason}" for name, reason in table["left_out"].items()]
    lists = {f"List '{measure.lists[-1]}'": table["rows"], f"List '{measure.lists[0]}'": table["paper_rows"]}
    for name, rows in lists.items():
        for protocol in measure.protocols:
            for framing in measure.framings:
                parts += ["", f"## {name}: {protocol}, {framing}", "", *markdown_grid(rows, protocol, framing)]
                parts += score_grid(rows, protocol, framing, measure.scores)
    name, framing, protocol = measure.claim
    parts += ["", f"## Claims ({protocol}, {framing}, list '{name}')", ""]
    parts += [f"- {'holds' if holds else 'does NOT hold'}: {text}" for text, holds in claims(table)]
    return "\n".join(parts) + "\n"


def markdown_grid(rows: Sequence[Row], protocol: str, framing: str) -> list[str]:
    """Return the lines of one Markdown table; the paper's figures, on other photographs, have rows of their own."""
    found = grid(rows, protocol, framing)
    lines = _head(found)
    for method in found.methods:
        cells = found.row(method)
        lines.append(_line([*found.words(method), *(_markdown_cell(row, found) for row in cells)]))
        if any(row is not None and row["paper"] is not None for row in cells):
            shown = ["" if row is None or row["paper"] is None else f"*{row['paper']:.2f}*" for row in cells]
            empty = [""] * (len(found.words(method)) - 1)
            lines.append(_line([f"*{method}'s role in the paper, on other data*", *empty, *shown]))
    return lines


def score_grid(rows: Sequence[Row], protocol: str, framing: str, scores: Sequence[str]) -> list[str]:
    """Return the lines of a Markdown table of the further scores; empty without any."""
    if not scores:
        return []
    found = grid(rows, protocol, framing)
    lines = ["", f"In %: {' / '.join(SCORES[name] for name in scores)}.", "", *_head(found)]
    for method in found.methods:
        cells = ["" if row is None else " / ".join(map(_percent, row["scores"].values())) for row in found.row(method)]
        lines.append(_line([*found.words(method), *cells]))
    return lines


def _percent(share: float | None) -> str:
    return "–" if share is None or share != share else f"{100 * share:.1f}"


def _head(found: Grid) -> list[str]:
    words = ["method", *(["read-out"] if found.read_outs else []), "supervision", *found.columns]
    return [_line(words), f"|{'---|' * len(words)}"]


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _markdown_cell(row: Row | None, found: Grid) -> str:
    if row is None:
        return ""
    (low, high), best = row["ci95"], found.best[row["pair"]]
    text = f"**{number(row)}**" if row["pixel_error"] == best else number(row)
    return f"{text}{mark(row)} [{low:.2f}, {high:.2f}]"
