"""Puts the tests of a table together: errors with intervals, the ablation's steps, the goals."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dife_lightning.errors import DataError
from experiments.common.options import recorded_facts
from experiments.landmarks.errors import NmeTable, difference, joined, mean_of, verdict
from experiments.landmarks.plan import LandmarkPlan
from experiments.landmarks.runs import ScoredRow

#: (row, seed) -> its test.
Tests = Mapping[tuple[str, int], ScoredRow]
#: Errors in percent at which the cumulative curves (CED) are drawn.
CED_ERRORS = tuple(range(31))
#: Scores of a test's ``metrics.json`` that the table has beside the NME.
SCORES = ("failure_08", "failure_10", "auc_10")


def columns_of(tests: Tests) -> dict[str, list[str]]:
    """Return column -> domains: the groups of the evaluation, then each domain."""
    rows = next(iter(tests.values())).rows
    single = {row["domain"]: row["group"].split(",") for row in rows if row["domain"] != "all"}
    groups = list(dict.fromkeys(group for names in single.values() for group in names if group))
    found = {group: [name for name, own in single.items() if group in own] for group in groups}
    return found | {name: [name] for name in single}


def groups_of(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns that join several domains; all columns if none does."""
    return [name for name, domains in columns.items() if len(domains) > 1] or list(columns)


def table_of(plan: LandmarkPlan, tests: Tests, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of ``table.json``; DataError for tests on different faces."""
    _check_lists(tests)
    columns = columns_of(tests)
    have = list(dict.fromkeys(row for row, _ in tests))
    means = {(row, name): _mean(tests, row, domains) for row in have for name, domains in columns.items()}
    rows = [_row(plan, tests, means, row, name, domains) for row in have for name, domains in columns.items()]
    return {
        "title": plan.title,
        "reference": plan.reference,
        "columns": dict(columns.items()),
        "rows": rows,
        "ablation": _steps(plan, tests, have, columns),
        "goals": _goals(plan, tests, have, columns),
        "left_out": dict(left_out),
        **recorded_facts(),
    }


def _check_lists(tests: Tests) -> None:
    first: dict[str, tuple[str, Any]] = {}
    for (row, seed), test in tests.items():
        for one in test.rows:
            name, found = f"{row} (seed {seed})", one.get("list_hash")
            other, known = first.setdefault(one["domain"], (name, found))
            if one["domain"] != "all" and found != known:
                raise DataError(f"{name} and {other} were tested on different faces of {one['domain']}; test both anew")


def _mean(tests: Tests, row: str, domains: Sequence[str], seeds: Collection[int] = ()) -> NmeTable:
    """Return the mean errors of a row over ``seeds``, or over all that it has."""
    found = [test for (name, seed), test in sorted(tests.items()) if name == row and (not seeds or seed in seeds)]
    return mean_of([joined([test.errors[domain] for domain in domains]) for test in found])


def _pair(tests: Tests, first: str, second: str, domains: Sequence[str]) -> tuple[NmeTable, NmeTable]:
    """Return the mean errors of two rows over the seeds that both have (over all, if they share none)."""
    one, other = ({seed for name, seed in tests if name == row} for row in (first, second))
    return _mean(tests, first, domains, one & other), _mean(tests, second, domains, one & other)


def _row(
    plan: LandmarkPlan,
    tests: Tests,
    means: Mapping[tuple[str, str], NmeTable],
    row: str,
    column: str,
    domains: Sequence[str],
) -> dict[str, Any]:
    several = [joined([test.errors[domain] for domain in domains]).mean() for test in _of(tests, row)]
    mean, entry = means[row, column], plan.row(row)
    against = None
    if row != plan.reference and (plan.reference, column) in means:
        value, interval = difference(*_pair(tests, row, plan.reference, domains))
        against = {"difference": value, "ci95": interval, "verdict": verdict(interval)}
    seconds = [test.seconds for test in _of(tests, row) if test.seconds is not None]
    return {
        "row": row,
        "column": column,
        "nme": mean.mean(),
        "ci95": mean.interval(),
        "spread": float(np.std(several, ddof=1)) if len(several) > 1 else None,
        "seeds": [seed for name, seed in sorted(tests) if name == row],
        "faces": len(mean.nme),
        "scores": {score: _score(_of(tests, row), column, score) for score in SCORES},
        "interocular": _interocular(mean),
        "ced": _ced(mean),
        "against": against,
        "supervision": entry.supervision,
        "note": entry.note,
        "seconds": round(float(np.mean(seconds)), 1) if seconds else None,
    }


def _of(tests: Tests, row: str) -> list[ScoredRow]:
    return [test for (name, _), test in sorted(tests.items()) if name == row]


def _score(tests: Sequence[ScoredRow], column: str, score: str) -> float | None:
    found = []
    for test in tests:
        for row in test.rows:
            own = row["domain"] if row["domain"] != "all" else row["group"]
            if own == column and row.get(score) is not None:
                found.append(float(row[score]))
    return float(np.mean(found)) if found else None


def _interocular(mean: NmeTable) -> dict[str, Any]:
    """Return the error by the distance of the eyes in percent, and the faces that have both; None if none has."""
    known = mean.interocular[np.isfinite(mean.interocular)]
    return {"nme": float(known.mean()) if len(known) else None, "faces": len(known)}


def _ced(mean: NmeTable) -> list[float]:
    """Return the share of faces with at most each error of ``CED_ERRORS``."""
    return [round(float((mean.nme <= error).mean()), 4) for error in CED_ERRORS]


def _steps(plan: LandmarkPlan, tests: Tests, have: Sequence[str], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each step of the ablation in each group: the error before it minus that after it."""
    chain = [row for row in plan.ablation if row in have]
    found = []
    for before, after in itertools.pairwise(chain):
        for group in groups_of(columns):
            value, interval = difference(*_pair(tests, before, after, columns[group]))
            found.append(
                {
                    "before": before,
                    "after": after,
                    "column": group,
                    "difference": value,
                    "ci95": interval,
                    "verdict": verdict(interval),
                }
            )
    return found


def _goals(plan: LandmarkPlan, tests: Tests, have: Sequence[str], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each group of the goals the reference row's error as a share of the supervised row's.

    ``not_below`` has the other rows whose error is not clearly above that of the reference row.
    """
    if plan.supervised not in have or plan.reference not in have:
        return []
    found = []
    for group, limit in plan.goals.items():
        own, supervised = _pair(tests, plan.reference, plan.supervised, columns[group])
        value = own.mean() / supervised.mean()
        pairs = {row: _pair(tests, row, plan.reference, columns[group]) for row in have if row != plan.reference}
        others = {row: difference(*pair)[1] for row, pair in pairs.items()}
        not_below = [row for row, interval in others.items() if verdict(interval) != "held"]
        entry = {"column": group, "value": value, "limit": limit, "holds": value <= limit, "not_below": not_below}
        found.append(entry)
    return found
