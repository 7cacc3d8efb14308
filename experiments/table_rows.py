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
from experiments.plan import Column, Plan
from experiments.rows import (
    CLAIM_FRAMING,
    CLAIM_LIST,
    CLAIM_PROTOCOL,
    COMPARISONS,
    RATIO_LIMITS,
    Comparison,
    Ratio,
    Row,
    plain,
)

PROTOCOLS, FRAMINGS = ("9-point", "3-point"), ("jittered", "plain")
#: (row, model, seed) -> folder with the predictions of its test.
Folders = Mapping[tuple[str, str, int], Path]
_Tables = Mapping[tuple[str, str, str, str], PredictionTable]


def assemble(plan: Plan, folders: Folders, lists: Sequence[str]) -> dict[str, Any]:
    """Return rows (on the long list), rows on the paper's list, comparisons, and the circumstances.

    Args:
        plan: columns and rows.
        folders: where the tests are; every seed that is there counts.
        lists: test lists, the first those of ``paper_rows``, the last those of ``rows``.

    Raises:
        DataError: a cell has no test.
    """
    tables = {key: read_predictions(folder / "predictions.csv") for key, folder in folders.items()}
    found = {
        name: [
            cell(plan, column, row.name, folders, tables, name, protocol, framing)
            for column, row, protocol, framing in itertools.product(plan.columns, plan.rows, PROTOCOLS, FRAMINGS)
        ]
        for name in lists
    }
    names = [row.name for row in plan.rows]
    pairs = [pair for pair in COMPARISONS if set(pair) <= set(names)]
    comparisons = [
        {**entry, "by_seed": by_seed(column, *pair, tables)}
        for column in plan.columns
        for pair in pairs
        for entry in plain([compare(column, *pair, tables)])
    ]
    facts = collect_environment()
    return {
        "rows": found[lists[-1]],
        "paper_rows": found[lists[0]],
        "comparisons": comparisons,
        "ratios": plain(ratios(found[lists[-1]])),
        "columns": {column.name: {"model": column.model, "pairs": list(column.pairs)} for column in plan.columns},
        **{key: facts[key] for key in ("commit", "dirty", "versions", "machine", "time")},
    }


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
    seeds: Sequence[int] | None = None,
) -> Comparison:
    """Return the difference of two rows on the same pairs, the mean over ``seeds`` (None: all), and its interval."""
    means = []
    for row in (worse, better):
        own = seeds_of(tables, row, column)
        chosen = [seed for seed in own if seeds is None or len(own) == 1 or seed in seeds]
        key = (column, CLAIM_LIST, CLAIM_FRAMING, CLAIM_PROTOCOL)
        means.append(mean_table([pooled(tables[row, column.model, seed], *key) for seed in chosen]))
    difference, interval = paired_difference(*align(*means))
    return Comparison(worse, better, column.name, difference, interval)


def by_seed(
    column: Column, worse: str, better: str, tables: Mapping[tuple[str, str, int], _Tables]
) -> dict[str, dict[str, Any]]:
    """Return the same comparison for each seed alone."""
    found = {}
    for seed in seeds_of(tables, better, column):
        one = compare(column, worse, better, tables, [seed])
        found[str(seed)] = {"difference": one.difference, "ci95": one.ci95, "holds": one.holds}
    return found


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """Return DIFE's error as a share of the teacher's and of each floor's, for each column."""
    error = {
        (row["pair"], row["method"]): row["pixel_error"]
        for row in rows
        if (row["protocol"], row["framing"]) == (CLAIM_PROTOCOL, CLAIM_FRAMING)
    }
    columns = list(dict.fromkeys(pair for pair, _ in error))
    return [
        Ratio(other, pair, error[pair, "dife"] / error[pair, other], limit)
        for pair in columns
        for other, limit in RATIO_LIMITS.items()
        if (pair, "dife") in error and (pair, other) in error
    ]
