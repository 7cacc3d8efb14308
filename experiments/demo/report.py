"""The demo's results as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.common.rows import METHODS, Comparison, Ratio, Row

WHAT = {
    "random": "a uniform point",
    "copy-xy": "same place in image",
    "mean-shape": "mean train landmarks",
    "surface-teacher": "DIFE's teacher",
    "dife-warmup": "warm-up, equal time",
    "dife": "both stages",
}


def results_table(rows: Sequence[Row], methods: Sequence[str] = METHODS) -> Table:
    """Return the table: methods as rows, protocol x framing as columns, the smallest error of a column in bold."""
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    cells = {(row["method"], row["pair"], row["protocol"], row["framing"]): row for row in rows}
    columns = list(dict.fromkeys(key[1:] for key in cells))
    title = f"Keypoint transfer, test pairs of {', '.join(pairs)}: error in px of a 70-px crop"
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("method", no_wrap=True)
    for pair, protocol, framing in columns:
        table.add_column(f"{protocol}\n{framing}" + (f"\n{pair}" if len(pairs) > 1 else ""), justify="right")
    best = {column: min(row["pixel_error"] for key, row in cells.items() if key[1:] == column) for column in columns}
    for method in methods:
        found = [cells[(method, *column)] for column in columns]
        smallest = [row["pixel_error"] == best[column] for row, column in zip(found, columns, strict=True)]
        label = Text.assemble((method, "bold cyan" if method == "dife" else ""), (f"\n{WHAT[method]}", "dim"))
        table.add_row(label, *(_cell(row, bold) for row, bold in zip(found, smallest, strict=True)))
    counts = "/".join(str(count) for count in sorted({row["pairs"] for row in rows}))
    table.caption = f"{counts} pairs a list; below each error its 95 % interval (bootstrap over pairs)"
    return table


def _cell(row: Row, best: bool) -> Text:
    low, high = row["ci95"]
    return Text.assemble(
        (f"{row['pixel_error']:.2f}", "bold green" if best else ""), (f"\n{low:.2f}–{high:.2f}", "dim")
    )


def comparison_line(found: Comparison) -> str:
    """Return one difference in words, and whether the claim holds."""
    low, high = found.ci95
    numbers = f"{found.pair}: {found.worse} − {found.better} = {found.difference:+.2f} px [{low:+.2f}, {high:+.2f}]"
    if found.holds:
        return f"{numbers}: {found.better} is better"
    verdict = f"{found.better} is WORSE" if high < 0 else "no difference shown"
    return f"{numbers}: the claim does NOT hold here, {verdict}"


def ratio_line(found: Ratio) -> str:
    """Return one ratio in words, and whether the claim holds."""
    verdict = "holds" if found.holds else "does NOT hold here"
    return f"{found.pair}: dife / {found.other} = {found.value:.2f} (claim: at most {found.limit:.2f}): {verdict}"


def print_report(
    rows: Sequence[Row], comparisons: Sequence[Comparison], shares: Sequence[Ratio], console: Console | None = None
) -> None:
    """Print the table, then every claim with its verdict."""
    console = console or Console()
    console.print()
    console.print(results_table(rows))
    console.print("\nClaims (9-point, jittered, the same pairs for both methods):", style="bold")
    lines = [(comparison_line(found), found.holds) for found in comparisons]
    lines += [(ratio_line(found), found.holds) for found in shares]
    for line, holds in lines:
        mark, style = ("✓", "green") if holds else ("✗", "red")
        console.print(Text.assemble((f"  {mark} ", style), line), soft_wrap=True)
