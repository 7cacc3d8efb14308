"""The table that a test prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dife_lightning.errors import printable
from dife_lightning.metrics.bootstrap import said_over
from dife_lightning.utils.run_folder import PREDICTIONS, TEST_METRICS

#: Columns of names from a configuration or a run; they are printed without escapes and markup.
NAMES = ("pair", "list", "framing", "protocol")


def print_scores(rows: Sequence[Mapping[str, Any]], folder: Path, console: Console | None = None) -> None:
    """Print the rows of ``metrics.json``, one line each, and where they were written.

    Args:
        rows: as in ``metrics.json``.
        folder: where that file is.
        console: where to print; standard output if None.
    """
    console = console or Console()
    over = said_over({row.get("interval", "pairs") for row in rows})
    table = Table(
        title=Text(printable(f"{rows[0]['method']}: keypoint transfer, px of a 70-px crop"), style="table.title"),
        caption=f"95 %: interval over {over}; swap: left and right confused; PCK: share within 0.1 of the side",
        padding=(0, 0),
    )
    for name in NAMES:
        table.add_column(name, no_wrap=True)
    for name in ("error", "95 %", "swap", "PCK", "pairs"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["ci95"]
        table.add_row(
            *(Text(printable(row[name])) for name in NAMES), f"{row['pixel_error']:.2f}",
            f"{low:.2f}-{high:.2f}", f"{row['swap_rate']:.0%}", f"{row['pck_image_10']:.0%}", str(row["pairs"]),
        )  # fmt: skip
    console.print(table)
    console.print(Text(printable(f"{folder}/{TEST_METRICS}, {PREDICTIONS}")), soft_wrap=True)
