from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from dife_lightning.callbacks._score_table import print_scores
from dife_lightning.cli.doctor.findings import Finding, report

#: Clears the screen, and makes a link of the text after it.
HOSTILE = "\x1b[2Jhuman[link=x]"


def test_names_of_a_run_are_printed_without_escapes_and_markup() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    row = dict.fromkeys(("pair", "list", "framing", "protocol", "method"), HOSTILE)
    numbers = {"ci95": (1.0, 2.0), "pixel_error": 1.5, "swap_rate": 0.1, "pck_image_10": 0.5, "pairs": 3}
    print_scores([{**row, **numbers}], Path(f"runs/{HOSTILE}"), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in said
    assert said.count("?[2Jhuman[link=x]") == 6


def test_the_doctor_prints_names_without_escapes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    report([Finding("ok", "data", HOSTILE)], console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in said
    assert "?[2Jhuman[link=x]" in said
