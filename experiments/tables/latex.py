"""A table of results for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.common.claims import Row
from experiments.common.plan import Plan

_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def latex(table: dict[str, Any], plan: Plan) -> str:
    """Return the numbers that the claims are about as a ``tabular``; it needs the package booktabs."""
    list_name, framing, protocol = plan.measure.claim
    rows = [row for row in table["rows"] if (row["protocol"], row["framing"]) == (protocol, framing)]
    methods, columns = (list(dict.fromkeys(row[key] for row in rows)) for key in ("method", "pair"))
    cells = {(row["method"], row["pair"]): row for row in rows}
    best = {column: min(row["pixel_error"] for row in rows if row["pair"] == column) for column in columns}
    lines = [
        f"% {plan.measure.title}: {protocol}, {framing}, list '{list_name}'. Error in px of a 70-px crop, mean over",
        "% pairs and seeds; in small print the 95 % interval over pairs. Needs \\usepackage{booktabs}.",
        f"\\begin{{tabular}}{{ll{'c' * len(columns)}}}",
        "\\toprule",
        _line(["method", "supervision", *columns]),
        "\\midrule",
    ]
    for method in methods:
        found = [cells[method, column] for column in columns]
        lines.append(_line([method, found[0]["supervision"]], [_cell(row, best[row["pair"]]) for row in found]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _line(words: Sequence[str], ready: Sequence[str] = ()) -> str:
    return " & ".join([*map(escaped, words), *ready]) + r" \\"


def _cell(row: Row, best: float) -> str:
    low, high = row["ci95"]
    number = f"{row['pixel_error']:.2f}"
    number = f"\\textbf{{{number}}}" if row["pixel_error"] == best else number
    spread = f" $\\pm$ {row['spread']:.2f}" if row["spread"] is not None else ""
    return f"{number}{spread} {{\\scriptsize [{low:.2f}, {high:.2f}]}}"


def escaped(text: str) -> str:
    """Return ``text`` with LaTeX's special characters escaped."""
    return "".join(_SPECIAL.get(character, character) for character in text)
