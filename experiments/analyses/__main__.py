"""Analyses of tests: ``python -m experiments.analyses`` on the runs of a table, or on any tests; see ``--help``.

Reads the predictions of `dife test` and compares all methods on the sets that all of them were tested on: errors of
each landmark, left/right swaps, PCK curves, errors against differences of pose and shape, errors on unlabelled points,
and pictures of failures. See docs/analyses.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.analyses.output import write_result, write_text
from experiments.analyses.sections import LENGTHS, SECTIONS
from experiments.analyses.sets import ComparedTests, ResultFolders, from_plan, from_words, named, read_sets
from experiments.common.commands import guarded
from experiments.common.options import full_name, names, plan_of, recorded_facts, runs_root_of, table_parser
from experiments.common.plan import Plan, check_names


def main(words: Sequence[str] | None = None) -> int:
    """Analyse; returns the exit code."""
    options = parse(words)
    return guarded(lambda: analyse(options), "run the same command to start again")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = table_parser("analyses", __doc__, pairs=True)
    add = parser.add_argument
    add("tests", nargs="*", help="name=folder of a predictions.csv or a tested run; default: the runs of a table")
    add("--only", type=names, default=list(SECTIONS), help=f"some of {','.join(SECTIONS)}; default: all")
    add("--list", help="test list; default: long, if there is one")
    add("--framing", help="jittered or plain; default: jittered, if there is one")
    add("--protocol", help="9-point or 3-point; default: 9-point, if there is one")
    text = "PCK thresholds are shares of this length (%(default)s)"
    add("--pck_by", choices=list(LENGTHS), default="crop", help=text)
    add("--bins", type=int, default=5, help="number of bins of pose and shape differences (%(default)s)")
    add("--extra_pairs", type=int, default=200, help="pairs of each kind for unlabelled points (%(default)s)")
    add(
        "--models", nargs="*", default=[], help="name=run, checkpoint, shipped embedder or class, for unlabelled points"
    )
    add("--worst", type=int, default=6, help="worst pairs in a picture of failures (%(default)s)")
    add("--median", type=int, default=3, help="median pairs below the worst ones (%(default)s)")
    add("--test_seed", type=int, help="seed of the framing, if the tests were made with one")
    add("--resamples", type=int, default=2000, help="bootstrap draws behind each interval (%(default)s)")
    add("--out", type=Path, default=Path("results/analyses"), help="folder of the results (%(default)s)")
    options = parser.parse_args(words)
    if options.resamples < 100 or options.extra_pairs < 1:
        parser.error("--resamples takes 100 or more, --extra_pairs 1 or more")
    return options


def analyse(options: argparse.Namespace) -> None:
    """Read the tests, analyse them and write the results."""
    check_names("no analysis {}", options.only, SECTIONS)
    models: dict[str, list[str]] = {}
    for name, place in named(options.models, "--models: expected name=run, such as dife=runs/first"):
        models.setdefault(name, []).append(place)
    options.models = models
    skipped: list[str] = []
    plan, sources = _sources(options, skipped)
    found = read_sets(sources, options.pairs, options.list, options.framing, options.protocol)
    found.left_out[:0] = skipped
    found.plan = plan
    lines = []
    for name in options.only:
        print(f"{name} ...", flush=True)
        result = SECTIONS[name](found, options)
        if result is not None:
            lines += [*write_result(name, result, options.out, _facts(found)), ""]
    write_text(options.out / "analyses.md", "\n".join(_page(found, lines)))
    for line in found.left_out:
        print(f"left out: {line}")
    print(f"{options.out}/analyses.md shows {found}, of {', '.join(found.sources)}")


def _sources(options: argparse.Namespace, skipped: list[str]) -> tuple[Plan | None, ResultFolders]:
    """Return the table's plan and the tests to compare: those named by the user, those of the table, or both."""
    given = from_words(options.tests)
    asked = [options.runs_root, options.plan, options.benchmark, options.rows]
    if given and all(value is None for value in asked):
        return None, given
    plan = plan_of("table1", options)
    root = runs_root_of(options)
    older = root.with_name(full_name("table1", options))  # the folder of runs in earlier versions
    root = older if options.runs_root is None and not root.is_dir() and older.is_dir() else root
    return plan, from_plan(plan, root, options.rows, skipped) | given


def _facts(found: ComparedTests) -> dict[str, Any]:
    """Return what is recorded with the numbers: sets, tests, versions."""
    return {
        "sets": [
            {"pair": each.pair, "list": each.list_name, "framing": each.framing, "protocol": each.protocol,
             "pairs": len(each.pair_ids)}
            for each in found.sets
        ],
        "tests": {m: list(dict.fromkeys(str(test.folder) for test in tests)) for m, tests in found.sources.items()},
        "protocol": found.sets[0].protocol,
        "left_out": list(found.left_out),
        **recorded_facts(),
    }  # fmt: skip


def _page(found: ComparedTests, lines: Sequence[str]) -> list[str]:
    pairs = ", ".join(one.pair for one in found.sets)
    what = f"{', '.join(found.sources)} on {pairs}: {found}, {found.sets[0].protocol}."
    start = ["# Analyses", "", what, ""]
    left_out = ["Left out:", "", *(f"- {line}" for line in found.left_out), ""] if found.left_out else []
    return [*start, *left_out, *lines]


if __name__ == "__main__":
    raise SystemExit(main())
