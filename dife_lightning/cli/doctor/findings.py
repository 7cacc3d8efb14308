"""What the doctor finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One line: how bad it is, what it is about, and what was found (and what to type)."""

    level: Level
    about: str
    text: str
