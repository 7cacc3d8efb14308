"""The numbers of a table, from the errors of its tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dife_lightning.errors import DataError
from dife_lightning.utils.environment import collect_environment
from experiments.common.claims import Comparison, Ratio, Row, plain
from experiments.common.pair_errors import PairErrors, SetKey, difference, joined, mean_of
from experiments.common.plan import Column, Plan, TableRow


@dataclass(frozen=True)
class RowTest:
    """The test of a row: its errors, and the folder or the record that they come from."""

    errors: Mapping[SetKey, PairErrors]
    source: str


#: (row, model, seed)
RunKey = tuple[str, str, int]
Tests = Mapping[RunKey, RowTest]


def assemble(plan: Plan, tests: Tests) -> dict[str, Any]:
    """Return rows (on the list of the claims), rows on the paper's list, comparisons, and facts about this machine.

    Args:
        plan: columns, rows and measure.
        tests: of each row and model, with all seeds that exist.

    Raises:
        DataError: a row has no test.
    """
    measure = plan.measure
    found = {
        name: [
            result_row(plan, column, row, tests, name, protocol, framing)
            for column, row, protocol, framing in itertools.product(
                plan.columns, plan.rows, measure.protocols, measure.framings
            )
        ]
        for name in measure.lists
    }
    names = [row.name for row in plan.rows]
    comparisons = [
        {**entry, "verdict": verdict(entry["ci95"]), "by_seed": by_seed(plan, column, *pair, tests)}
        for column in plan.columns
        for pair in (pair for pair in plan.comparisons if set(pair) <= set(names))
        for entry in plain([paired_comparison(plan, column, *pair, tests)])
    ]
    facts = collect_environment()
    return {
        "rows": found[measure.lists[-1]],
        "paper_rows": found[measure.lists[0]],
        "comparisons": comparisons,
        "ratios": plain(ratios(found[measure.lists[-1]], plan)),
        "claim": dict(zip(("list", "framing", "protocol"), measure.claim, strict=True)),
        "columns": {column.name: {"model": column.model, "pairs": list(column.pairs)} for column in plan.columns},
        "notes": {row.name: note for row in plan.rows if (note := _note(row))},
        **{key: facts[key] for key in ("commit", "dirty", "versions", "machine", "time")},
    }


def _note(row: TableRow) -> str:
    few = f"the first {row.first} pairs of each list alone" if row.first else ""
    return "; ".join(part for part in (row.note, few) if part)


def result_row(
    plan: Plan, column: Column, row: TableRow, tests: Tests, list_name: str, protocol: str, framing: str
) -> Row:
    """Return one row of results: the mean over seeds, its interval over pairs, the spread over seeds.

    The interval is a bootstrap over pairs of the mean over the seeds; ``spread`` is the standard
    deviation over seeds (None for one); ``against`` is the paired difference to the reference row.
    """
    seeds = seeds_of(tests, row.name, column)
    place = (list_name, framing, protocol)
    several = [pooled(tests[row.name, column.model, seed].errors, column, *place, row.first) for seed in seeds]
    mean = mean_of(several)
    errors = [part.pixel_error for part in several]
    return {
        "method": row.name,
        "pair": column.name,
        "protocol": protocol,
        "framing": framing,
        "pixel_error": mean.pixel_error,
        "ci95": list(mean.interval()),
        "pairs": len(mean),
        "points": mean.points,
        "seeds": seeds,
        "spread": float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        "against": _against(plan, column, row.name, mean, tests, place),
        "supervision": row.supervision,
        "paper": plan.published(row.name, protocol, column.name),
        "run": [tests[row.name, column.model, seed].source for seed in seeds],
    }


def _against(
    plan: Plan, column: Column, row: str, mean: PairErrors, tests: Tests, place: tuple[str, str, str]
) -> dict[str, Any] | None:
    """Return the paired difference of a row to the reference row; None for that row itself, or if it has no test."""
    seeds = [seed for name, model, seed in tests if (name, model) == (plan.reference, column.model)]
    if row == plan.reference or not seeds:
        return None
    first = plan.first_of(row, plan.reference)
    reference = mean_of([pooled(tests[plan.reference, column.model, s].errors, column, *place, first) for s in seeds])
    gap, interval = difference(mean, reference)
    return {"method": plan.reference, "difference": gap, "ci95": list(interval), "verdict": verdict(interval)}


def verdict(interval: Sequence[float]) -> str:
    """Return the verdict of the interval of (first - second) on the second: ``better``, ``worse`` or ``tie``."""
    return "better" if interval[0] > 0 else "worse" if interval[1] < 0 else "tie"


def seeds_of(tests: Mapping[RunKey, Any], row: str, column: Column) -> list[int]:
    """Return the seeds that have a test, at least one."""
    seeds = sorted(seed for name, model, seed in tests if (name, model) == (row, column.model))
    if not seeds:
        raise DataError(f"no test of '{row}' for {column.name}: run the table without --rows and --columns")
    return seeds


def pooled(
    errors: Mapping[SetKey, PairErrors],
    column: Column,
    list_name: str,
    framing: str,
    protocol: str,
    first: int | None = None,
) -> PairErrors:
    """Return the pairs of all kinds of a column as one set; of each kind the ``first`` ones, or all."""
    keys = [(pair, list_name, framing, protocol) for pair in column.pairs]
    for key in keys:
        if key not in errors:
            raise DataError(f"a test has no set {'/'.join(key)}: test it on the same lists as the others")
    return joined([errors[key].first(first) for key in keys])


def paired_comparison(
    plan: Plan, column: Column, worse: str, better: str, tests: Tests, seeds: Sequence[int] | None = None
) -> Comparison:
    """Return the difference of two rows on the same pairs, the mean over ``seeds`` (None: all), and its interval."""
    means = []
    place = (*plan.measure.claim, plan.first_of(worse, better))
    for row in (worse, better):
        own = seeds_of(tests, row, column)
        chosen = [seed for seed in own if seeds is None or len(own) == 1 or seed in seeds]
        means.append(mean_of([pooled(tests[row, column.model, s].errors, column, *place) for s in chosen]))
    gap, interval = difference(*means)
    _, framing, protocol = plan.measure.claim
    return Comparison(worse, better, column.name, gap, interval, protocol, framing)


def by_seed(plan: Plan, column: Column, worse: str, better: str, tests: Tests) -> dict[str, dict[str, Any]]:
    """Return the same comparison for each single seed that both rows have."""
    found = {}
    own = seeds_of(tests, worse, column)
    for seed in seeds_of(tests, better, column):
        if len(own) == 1 or seed in own:
            one = paired_comparison(plan, column, worse, better, tests, [seed])
            found[str(seed)] = {"difference": one.difference, "ci95": one.ci95, "holds": one.holds}
    return found


def ratios(rows: Sequence[Row], plan: Plan) -> list[Ratio]:
    """Return DIFE's error as a share of the other methods' that the plan names, for each column."""
    error = {
        (row["pair"], row["method"]): row["pixel_error"]
        for row in rows
        if (row["framing"], row["protocol"]) == plan.measure.claim[1:]
    }
    columns = list(dict.fromkeys(pair for pair, _ in error))
    return [
        Ratio(other, pair, error[pair, "dife"] / error[pair, other], limit)
        for pair in columns
        for other, limit in plan.ratios.items()
        if (pair, "dife") in error and (pair, other) in error
    ]
