"""Figures of the analyses, from their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.viz.methods import Estimate, Panel
from dife_lightning.viz.pck import Curves, pck_chart
from experiments.analyses.numbers import Row

PX = "px of a 70-px crop"
INTERVAL = "bars: 95 % interval over pairs"


def panels_of(
    rows: Sequence[Row],
    column: str,
    value: str,
    label: Callable[[Row], str],
    notes: Mapping[tuple[str, str], str] | None = None,
    note_of: str = "",
) -> list[Panel]:
    """Return a panel for each kind of pair, with a category for each value of ``column``.

    Args:
        rows: method x kind of pair x column.
        column: key of the categories.
        value: key of the number.
        label: returns the label of a category from one of its rows.
        notes: (kind of pair, method) -> note beside the panel's title.
        note_of: what the notes are.
    """
    found = []
    for pair in dict.fromkeys(row["pair"] for row in rows):
        own = [row for row in rows if row["pair"] == pair]
        labels = {row[column]: label(row) for row in own}
        cells = {(row["method"], row[column]): row for row in own}
        methods = dict.fromkeys(row["method"] for row in own)
        values = {name: [_estimate(cells.get((name, key)), value) for key in labels] for name in methods}
        beside = {name: (notes or {})[pair, name] for name in methods if (pair, name) in (notes or {})}
        found.append(Panel(pair, list(labels.values()), values, beside, note_of))
    return found


def _estimate(row: Row | None, value: str) -> Estimate | None:
    if row is None or row[value] is None or row["ci95"] is None:
        return None
    return (row[value], row["ci95"][0], row["ci95"][1])


def signed(number: float) -> str:
    """Return a number with its sign and two decimals; zero has no sign."""
    text = f"{abs(number):.2f}"
    sign = "" if float(text) == 0 else "+" if number > 0 else "−"
    return f"{sign}{text}"


def two_lines(name: str) -> str:
    """Return a landmark's name on two lines of similar length: ``left_eye_outer`` becomes left eye / outer."""
    words = name.split("_")
    if len(words) == 1:
        return name
    cut = min(reversed(range(1, len(words))), key=lambda i: abs(len(" ".join(words[:i])) - len(" ".join(words[i:]))))
    return f"{' '.join(words[:cut])}\n{' '.join(words[cut:])}"


def pck_figure(curve: Sequence[Row], areas: Sequence[Row], by: str, what: str) -> Figure:
    """Return the PCK curves."""
    area = {(row["pair"], row["method"]): row["area"] for row in areas if row["area"] is not None}
    panels = []
    for pair in dict.fromkeys(row["pair"] for row in curve):
        own = [row for row in curve if row["pair"] == pair and (pair, row["method"]) in area]
        points: dict[str, list[Estimate]] = {}
        for row in own:
            points.setdefault(row["method"], []).append((row["pck"], row["ci95"][0], row["ci95"][1]))
        at = np.array(sorted({row["threshold"] for row in own}))
        shares = {name: np.array(values) for name, values in points.items()}
        panels.append(Curves(pair, at, shares, {name: area[pair, name] for name in shares}))
    length = "the crop's side" if by == "crop" else "the distance between the eyes"
    note = f"{what}; bands: 95 % interval over pairs; area: mean PCK over the thresholds"
    return pck_chart(panels, heading="Points within a threshold", note=note, xlabel=f"threshold, share of {length}")
