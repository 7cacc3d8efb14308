"""The README's commands exist, its Python runs as printed, and its numbers are those of the records."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.docs_text import CLONE, blocks

README = (CLONE / "README.md").read_text(encoding="utf-8")
#: Row of the README -> row of the record.
ROWS = {
    "leave each point where it is": "copy-xy",
    "surface teacher": "surface-teacher",
    "DVE": "dve",
    "DIFE, warm-up alone": "dife-warmup",
    "DIFE, both stages": "dife",
    "CATs, trained with landmarks of each species": "cats",
}


#: Likewise on photographs.
PHOTO_ROWS = {
    "leave each point where it is": "copy-xy",
    "mean landmarks": "mean-shape",
    "DVE": "dve",
    "CATs": "cats",
    "DIFE, warm-up alone": "dife-warmup",
    "DIFE, both stages": "dife",
    "`photos/dife`, as shipped": "shipped",
    "surface teacher `photos/teacher`": "surface-teacher",
    "Meta-CSKT (finds only its five landmarks)": "meta-cskt",
}


def test_it_fits_on_two_screens():
    assert len(README.splitlines()) <= 120


def test_the_first_python_example_runs_as_printed_and_finds_eyes_and_nose():
    (code,) = blocks(README, "python")
    result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = [float(number) for number in re.findall(r"\d+\.\d*", result.stdout)]
    assert found == pytest.approx([77, 117, 223, 136, 168, 245], abs=30)  # of 300 px, marked by hand


def cells(text: str) -> dict[str, list[str]]:
    """Return first cell -> further cells of the rows of all tables in `text`."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in rows}


def number_of(record: dict, decimals: bool) -> str:
    spread = f" ± {record['spread']:.2f}" if decimals and record["spread"] is not None else ""
    return f"{record['pixel_error']:.2f}{spread}"


@pytest.mark.parametrize("row", ROWS)
def test_each_number_of_the_table_is_the_records(row):
    of = records("world/table1.json", ROWS[row], "9-point")
    table = cells(README.partition("embedded world**")[2])
    shown = dict(zip(table["method"], table[row], strict=True))
    assert {pair: text.replace("*", "") for pair, text in shown.items()} == {p: number_of(of[p], True) for p in shown}


@pytest.mark.parametrize("row", PHOTO_ROWS)
def test_each_number_of_the_table_on_photographs_is_the_records(row):
    of = records("photos/table1_photos.json", PHOTO_ROWS[row], "3-point")
    table = cells(README.partition("embedded world**")[0].partition("## Results")[2])
    shown = dict(zip(table["method"], [text.strip(" |") for text in table[row]], strict=False))
    del shown["learns from"]
    assert {pair: text for pair, text in shown.items() if text} == {
        pair: number_of(of[pair], True) for pair in shown if pair in of
    }


def records(table: str, method: str, protocol: str) -> dict[str, dict]:
    """Return pair -> record of a row on jittered faces."""
    rows = json.loads((CLONE / "experiments/records" / table).read_text())["rows"]
    wanted = (method, protocol, "jittered")
    return {row["pair"]: row for row in rows if (row["method"], row["protocol"], row["framing"]) == wanted}
