"""The numbers of a table, from the errors of its tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dife_lightning.errors import DataError
from experiments.common.claims import Row
from experiments.common.options import recorded_facts
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
#: (list, framing, protocol)
Place = tuple[str, str, str]


def assemble(plan: Plan, tests: Tests) -> dict[str, Any]:
    """Return rows (on the list of the claims), rows on the paper's list, comparisons, and facts about this machine.

    Args:
        plan: columns, rows and measure.
        tests: the test of each row, model and existing seed.

    Raises:
        DataError: a row has no test.
    """
    measure = plan.measure
    found = {
        name: [
            result_row(plan, column, row, tests, (name, framing, protocol))
            for column, row, protocol, framing in itertools.product(
                plan.columns, plan.rows, measure.protocols, measure.framings
            )
            if row.in_column(column.name)
        ]
        for name in measure.lists
    }
    names = {row.name for row in plan.rows}
    return {
        "rows": found[measure.lists[-1]],
        "paper_rows": found[measure.lists[0]],
        "comparisons": [
            comparison(plan, column, pair[0], pair[1], tests, *pair[2:])
            for column in plan.columns
            for pair in plan.comparisons
            if set(pair[:2]) <= names and all(plan.row(name).in_column(column.name) for name in pair[:2])
        ],
        "ratios": ratios(found[measure.lists[-1]], plan),
        "claim": dict(zip(("list", "framing", "protocol"), measure.claim, strict=True)),
        "columns": {column.name: {"model": column.model, "pairs": list(column.pairs)} for column in plan.columns},
        "notes": {row.name: note for row in plan.rows if (note := _note(row))},
        **recorded_facts(),
    }


def _note(row: TableRow) -> str:
    few = f"the first {row.first} pairs of each list alone" if row.first else ""
    return "; ".join(part for part in (row.note, few) if part)


def result_row(plan: Plan, column: Column, row: TableRow, tests: Tests, place: Place) -> Row:
    """Return one row of results on a list, framing and protocol.

    ``pixel_error`` is the mean over seeds, ``ci95`` its bootstrap interval over pairs (with ``interval: photos`` over
    persons and photos, where these are in several pairs), ``spread`` the standard deviation over seeds (None for one
    seed), and ``against`` the paired difference to the reference row. ``scores`` (of the measure) and ``read_out`` are
    there if the plan has them.
    """
    seeds = seeds_of(tests, row.name, column)
    several = [pooled(tests[row.name, column.model, seed].errors, column, *place, row.first) for seed in seeds]
    mean = mean_of(several)
    errors = [part.pixel_error for part in several]
    _, framing, protocol = place
    return {
        "method": row.name,
        "pair": column.name,
        "protocol": protocol,
        "framing": framing,
        "pixel_error": mean.pixel_error,
        "ci95": list(mean.interval()),
        **mean.over(),
        **_further(plan, row, mean),
        "pairs": len(mean),
        "points": mean.points,
        "seeds": seeds,
        "spread": float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        "against": _against(plan, column, row.name, mean, tests, place),
        "supervision": row.supervision,
        "paper": plan.published(row.name, protocol, column.name),
        "run": [tests[row.name, column.model, seed].source for seed in seeds],
    }


def _further(plan: Plan, row: TableRow, mean: PairErrors) -> Row:
    """Return the further scores (None where a record has none) and the read-out, if the plan has them."""
    values = {name: mean.shares[name].value if name in mean.shares else None for name in plan.measure.scores}
    read_out = {} if row.read_out is None else {"read_out": row.read_out}
    return ({"scores": values} if values else {}) | read_out


def _against(
    plan: Plan, column: Column, row: str, mean: PairErrors, tests: Tests, place: Place
) -> dict[str, Any] | None:
    """Return the paired difference of a row to the reference row; None for that row itself, or if it has no test."""
    seeds = [seed for name, model, seed in tests if (name, model) == (plan.reference, column.model)]
    if row == plan.reference or not seeds:
        return None
    first = plan.first_of(row, plan.reference)
    gap, interval = difference(mean, _mean(tests, plan.reference, column, seeds, place, first))
    return {"method": plan.reference, "difference": gap, "ci95": list(interval), "verdict": verdict(interval)}


def _mean(tests: Tests, row: str, column: Column, seeds: Sequence[int], place: Place, first: int | None) -> PairErrors:
    return mean_of([pooled(tests[row, column.model, seed].errors, column, *place, first) for seed in seeds])


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
    """Return the pairs of all kinds of a column as one set: the ``first`` pairs of each kind, or all."""
    keys = [(pair, list_name, framing, protocol) for pair in column.pairs]
    for key in keys:
        if key not in errors:
            raise DataError(f"a test has no set {'/'.join(key)}: test it on the same lists as the others")
    return joined([errors[key].first(first) for key in keys])


def comparison(plan: Plan, column: Column, worse: str, better: str, tests: Tests, framing: str | None = None) -> Row:
    """Return the error of ``worse`` minus that of ``better`` on the same pairs, in px of a 70-px crop.

    ``framing`` is that of the claims if None.
    The claim ``holds`` if the 95 % interval lies above zero. ``by_seed`` is the same difference for each
    seed that both rows have; a row with a single seed is compared with every seed of the other.
    """
    name, usual, protocol = plan.measure.claim
    place, first = (name, framing or usual, protocol), plan.first_of(worse, better)
    seeds = {row: seeds_of(tests, row, column) for row in (worse, better)}

    def gap(chosen: Sequence[int] | None) -> Row:
        means = [
            _mean(tests, row, column, [s for s in own if chosen is None or len(own) == 1 or s in chosen], place, first)
            for row, own in seeds.items()
        ]
        value, interval = difference(*means)
        return {"difference": value, "ci95": interval, "holds": interval[0] > 0}

    whole, both = gap(None), [s for s in seeds[better] if len(seeds[worse]) == 1 or s in seeds[worse]]
    return {
        "worse": worse,
        "better": better,
        "pair": column.name,
        "difference": whole["difference"],
        "ci95": whole["ci95"],
        "protocol": place[2],
        "framing": place[1],
        "holds": whole["holds"],
        "verdict": verdict(whole["ci95"]),
        "by_seed": {str(seed): gap([seed]) for seed in both},
    }


def ratios(rows: Sequence[Row], plan: Plan) -> list[Row]:
    """Return DIFE's error divided by that of the methods that the plan names, for each column."""
    error = {
        (row["pair"], row["method"]): row["pixel_error"]
        for row in rows
        if (row["framing"], row["protocol"]) == plan.measure.claim[1:]
    }
    found = []
    for pair in dict.fromkeys(pair for pair, _ in error):
        for other, limit in plan.ratios.items():
            if (pair, "dife") in error and (pair, other) in error:
                value = error[pair, "dife"] / error[pair, other]
                found.append({"other": other, "pair": pair, "value": value, "limit": limit, "holds": value <= limit})
    return found
