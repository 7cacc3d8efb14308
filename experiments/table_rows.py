"""The numbers of a table, from the predictions of its tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dife_lightning.environment import collect_environment
from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import bootstrap_ci, paired_difference
from dife_lightning.metrics.predictions import PredictionTable, align, read_predictions
from experiments.measure import Measure
from experiments.plan import Column, Plan
from experiments.rows import (
    COMPARISONS,
    RATIO_LIMITS,
    Comparison,
    Ratio,
    Row,
    plain,
)

#: (row, model, seed) -> folder with the predictions of its test.
Folders = Mapping[tuple[str, str, int], Path]
_Tables = Mapping[tuple[str, str, str, str], PredictionTable]


def assemble(plan: Plan, folders: Folders) -> dict[str, Any]:
    """Return rows (on the list of the claims), rows on the paper's list, comparisons, and the circumstances.

    Args:
        plan: columns, rows and measure.
        folders: where the tests are; every seed that is there counts.

    Raises:
        DataError: a cell has no test.
    """
    measure = plan.measure
    tables = {key: read_tables(folder, measure) for key, folder in folders.items()}
    found = {
        name: [
            cell(plan, column, row.name, folders, tables, name, protocol, framing)
            for column, row, protocol, framing in itertools.product(
                plan.columns, plan.rows, measure.protocols, measure.framings
            )
        ]
        for name in measure.lists
    }
    names = [row.name for row in plan.rows]
    pairs = [pair for pair in COMPARISONS if set(pair) <= set(names)]
    comparisons = [
        {**entry, "by_seed": by_seed(column, *pair, tables, measure)}
        for column in plan.columns
        for pair in pairs
        for entry in plain([compare(column, *pair, tables, measure)])
    ]
    facts = collect_environment()
    return {
        "rows": found[measure.lists[-1]],
        "paper_rows": found[measure.lists[0]],
        "comparisons": comparisons,
        "ratios": plain(ratios(found[measure.lists[-1]], measure)),
        "claim": dict(zip(("list", "framing", "protocol"), measure.claim, strict=True)),
        "columns": {column.name: {"model": column.model, "pairs": list(column.pairs)} for column in plan.columns},
        **{key: facts[key] for key in ("commit", "dirty", "versions", "machine", "time")},
    }


def read_tables(folder: Path, measure: Measure) -> _Tables:
    """Read the predictions of a test; where there is one list, it goes by the measure's name whatever it is called."""
    found = read_predictions(folder / "predictions.csv")
    if len(measure.lists) > 1:
        return found
    return {(pair, measure.lists[0], framing, protocol): t for (pair, _, framing, protocol), t in found.items()}


def cell(
    plan: Plan,
    column: Column,
    row: str,
    folders: Folders,
    tables: Mapping[tuple[str, str, int], _Tables],
    list_name: str,
    protocol: str,
    framing: str,
) -> Row:
    """Return one row of results: the mean over seeds, its interval over pairs, the spread over seeds.

    The interval is that of the mean over the seeds at hand when pairs are drawn anew; ``spread`` is the standard
    deviation over seeds (None for one).
    """
    seeds = seeds_of(tables, row, column)
    several = [pooled(tables[row, column.model, s], column, list_name, framing, protocol) for s in seeds]
    mean = mean_table(several)
    errors = [table.pixel_error for table in several]
    return {
        "method": row,
        "pair": column.name,
        "protocol": protocol,
        "framing": framing,
        "pixel_error": mean.pixel_error,
        "ci95": list(bootstrap_ci(mean.errors, mean.visible)),
        "pairs": len(mean.pair_ids),
        "points": int(mean.visible.sum()),
        "seeds": seeds,
        "spread": float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        "paper": plan.published(row, protocol, column.name),
        "run": [str(folders[row, column.model, seed]) for seed in seeds],
    }


def seeds_of(tables: Mapping[tuple[str, str, int], Any], row: str, column: Column) -> list[int]:
    """Return the seeds of which there are tests, at least one."""
    seeds = sorted(seed for name, model, seed in tables if (name, model) == (row, column.model))
    if not seeds:
        raise DataError(f"no test of '{row}' for {column.name}: run the table without --rows and --columns")
    return seeds


def pooled(tables: _Tables, column: Column, list_name: str, framing: str, protocol: str) -> PredictionTable:
    """Return the pairs of all kinds of a column as one set."""
    parts = [tables[pair, list_name, framing, protocol] for pair in column.pairs]
    return PredictionTable(
        tuple(f"{pair}:{name}" for pair, part in zip(column.pairs, parts, strict=True) for name in part.pair_ids),
        parts[0].landmarks,
        np.concatenate([part.errors for part in parts]),
        np.concatenate([part.visible for part in parts]),
    )


def mean_table(several: Sequence[PredictionTable]) -> PredictionTable:
    """Return the mean error of each point over seeds."""
    first, *others = several
    errors = np.mean([first.errors, *(align(first, other)[1] for other in others)], axis=0)
    return PredictionTable(first.pair_ids, first.landmarks, errors, first.visible)


def compare(
    column: Column,
    worse: str,
    better: str,
    tables: Mapping[tuple[str, str, int], _Tables],
    measure: Measure,
    seeds: Sequence[int] | None = None,
) -> Comparison:
    """Return the difference of two rows on the same pairs, the mean over ``seeds`` (None: all), and its interval."""
    means = []
    for row in (worse, better):
        own = seeds_of(tables, row, column)
        chosen = [seed for seed in own if seeds is None or len(own) == 1 or seed in seeds]
        means.append(mean_table([pooled(tables[row, column.model, seed], column, *measure.claim) for seed in chosen]))
    difference, interval = paired_difference(*align(*means))
    _, framing, protocol = measure.claim
    return Comparison(worse, better, column.name, difference, interval, protocol, framing)


def by_seed(
    column: Column, worse: str, better: str, tables: Mapping[tuple[str, str, int], _Tables], measure: Measure
) -> dict[str, dict[str, Any]]:
    """Return the same comparison for each seed alone."""
    found = {}
    for seed in seeds_of(tables, better, column):
        one = compare(column, worse, better, tables, measure, [seed])
        found[str(seed)] = {"difference": one.difference, "ci95": one.ci95, "holds": one.holds}
    return found


def ratios(rows: Sequence[Row], measure: Measure) -> list[Ratio]:
    """Return DIFE's error as a share of the teacher's and of each floor's, for each column."""
    error = {
        (row["pair"], row["method"]): row["pixel_error"]
        for row in rows
        if (row["framing"], row["protocol"]) == measure.claim[1:]
    }
    columns = list(dict.fromkeys(pair for pair, _ in error))
    return [
        Ratio(other, pair, error[pair, "dife"] / error[pair, other], limit)
        for pair in columns
        for other, limit in RATIO_LIMITS.items()
        if (pair, "dife") in error and (pair, other) in error
    ]
