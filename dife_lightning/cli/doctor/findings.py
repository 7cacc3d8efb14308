"""Results of the doctor's checks, and their printing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from rich.console import Console
from rich.text import Text

from dife_lightning.errors import printable

Level = Literal["ok", "warning", "error"]
_MARKS: dict[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


class Finding(NamedTuple):
    """One result: its level, its topic, and a line with what was found and what to type."""

    level: Level
    about: str
    text: str


def report(findings: Iterable[Finding], console: Console) -> bool:
    """Print findings one by one, each text once; return whether one is an error."""
    known: set[str] = set()
    failed = False
    for level, about, text in findings:
        if text not in known:  # several checks may find the same error
            mark, style = _MARKS[level]
            line = Text.assemble((f"{mark} ", style), (f"{about}: ", "bold"), printable(text))
            console.print(line, soft_wrap=True)
        known.add(text)
        failed |= level == "error"
    return failed
