"""Commands, code blocks and links in the Markdown files of the project."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
#: All pages that tell people what to type.
PAGES = [CLONE / "README.md", CLONE / "CONTRIBUTING.md", CLONE / "SECURITY.md", *sorted((CLONE / "docs").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def inline(text: str) -> list[str]:
    """Return what stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def commands(text: str, program: str) -> list[list[str]]:
    """Return the words after `program` of each line in a shell block, and of each inline code, that starts with it."""
    shell = [
        line.strip()
        for block in [*blocks(text, "sh"), *blocks(text, "bash")]
        for line in block.replace("\\\n", " ").splitlines()
    ]
    starting = [line for line in [*shell, *inline(text)] if line.startswith(f"{program} ")]
    return [shlex.split(line, comments=True)[1:] for line in starting]
