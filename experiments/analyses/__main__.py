"""Analyses of tests: ``python -m experiments.analyses`` on the runs of a table, or on any tests; see ``--help``.

Reads what `dife test` wrote (predictions.csv) and compares all methods on the sets that all of them were tested on:
errors of each landmark, left/right swaps, PCK curves, errors against differences of pose and shape, errors on points
that nobody marked, and pictures of failures. See docs/analyses.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.environment import collect_environment
from experiments.analyses.output import write_result, write_text
from experiments.analyses.sections import SECTIONS, what_of
from experiments.analyses.sets import Comparison, read_sets
from experiments.analyses.sources import Sources, from_plan, from_words
from experiments.common.commands import guarded
from experiments.common.plan import PLANS, Plan, read_plan

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule

_FACTS = ("commit", "dirty", "versions", "machine", "time")


def main(words: Sequence[str] | None = None) -> int:
    """Analyse; returns the exit code."""
    options = parse(words)
    return guarded(lambda: analyse(options), "the same command starts anew")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.analyses", description=__doc__)
    add = parser.add_argument
    add("tests", nargs="*", help="name=folder with a predictions.csv, or of a tested run; else the runs of a table")
    add(
        "--runs_root", type=Path, help="folder of a table's runs (runs/tables or runs/table1, with a benchmark its own)"
    )
    add(
        "--plan",
        type=Path,
        help="what the table consists of (experiments/tables/plans/table1.yaml, or that of the benchmark)",
    )
    add("--benchmark", help="mafl_ap10k or wflw_animalweb: the table on your own photographs (docs/real_data.md)")
    add("--rows", type=_names, help="rows of the table, with commas; all that are there by default")
    add("--pairs", type=_names, help="kinds of pair, with commas, such as human+dog; all by default")
    add("--only", type=_names, default=list(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    add("--list", help="test list (long, where there is one)")
    add("--framing", help="jittered or plain (jittered, where there is one)")
    add("--protocol", help="9-point or 3-point (9-point, where there is one)")
    add(
        "--pck_by",
        choices=("crop", "interocular"),
        default="crop",
        help="what PCK thresholds are parts of (%(default)s)",
    )
    add("--bins", type=int, default=5, help="bins of pose and shape differences (%(default)s)")
    add("--extra_pairs", type=int, default=200, help="pairs of each kind for points that nobody marked (%(default)s)")
    add("--models", nargs="*", default=[], help="name=run, checkpoint or shipped embedder, for those points")
    add("--worst", type=int, default=6, help="worst pairs in a picture of failures (%(default)s)")
    add("--median", type=int, default=3, help="median pairs below them (%(default)s)")
    add("--test_seed", type=int, help="of the tests, if they were made with one")
    add("--resamples", type=int, default=2000, help="bootstrap draws behind each interval (%(default)s)")
    add("--out", type=Path, default=Path("results/analyses"), help="folder of the results (%(default)s)")
    options = parser.parse_args(words)
    if options.resamples < 100 or options.extra_pairs < 1:
        parser.error("--resamples takes 100 or more, --extra_pairs 1 or more")
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def analyse(options: argparse.Namespace) -> Comparison:
    """Read, analyse and write; returns what was compared."""
    for name in options.only:
        if name not in SECTIONS:
            raise ConfigError(f"no analysis '{name}'. {did_you_mean(name, SECTIONS)}")
    options.models = _models(options.models)
    skipped: list[str] = []
    plan, sources = _sources(options, skipped)
    found = read_sets(
        sources,
        pairs=options.pairs,
        list_name=options.list,
        framing=options.framing,
        protocol=options.protocol,
    )
    found.left_out[:0] = skipped
    options.photographs = partial(_photographs, plan, found)
    lines = []
    for name in options.only:
        print(f"{name} ...", flush=True)
        result = SECTIONS[name](found, options)
        if result is not None:
            lines += [*write_result(result, options.out, _facts(found)), ""]
    write_text(options.out / "analyses.md", "\n".join(_page(found, lines)))
    for line in found.left_out:
        print(f"left out: {line}")
    print(f"{options.out}/analyses.md shows {what_of(found)}, of {', '.join(found.sources)}")
    return found


def _models(words: Sequence[str]) -> dict[str, list[str]]:
    models: dict[str, list[str]] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not (name and equals and place):
            raise ConfigError(f"--models '{word}': expected name=run, such as dife=runs/first")
        models.setdefault(name, []).append(place)
    return models


def _sources(options: argparse.Namespace, skipped: list[str]) -> tuple[Plan | None, Sources]:
    """Return the table's plan and the tests to compare: those that were named, and the table's if it was asked for."""
    named = from_words(options.tests)
    asked = [options.runs_root, options.plan, options.benchmark, options.rows]
    if named and all(value is None for value in asked):
        return None, named
    path = options.plan or PLANS / (f"table1_{options.benchmark}.yaml" if options.benchmark else "table1.yaml")
    if not path.is_file():
        known = sorted(p.stem.removeprefix("table1_") for p in PLANS.glob("table1_*.yaml"))
        raise ConfigError(f"no plan {path}; benchmarks: {', '.join(known)}")
    plan = read_plan(path)
    root = options.runs_root or _usual_root(options.benchmark)
    return plan, from_plan(plan, root, options.rows, skipped) | named


def _usual_root(benchmark: str | None) -> Path:
    places = [benchmark, f"table1_{benchmark}"] if benchmark else ["tables", "table1"]
    return next((Path("runs") / place for place in places if (Path("runs") / place).is_dir()), Path("runs") / places[0])


def _photographs(plan: Plan | None, found: Comparison) -> PairsDataModule | None:
    """Return the test pairs of a benchmark on photographs; None for those of the world."""
    if plan is None or plan.measure.data == "WorldPairs":
        return None
    return plan.measure.prepared([one.pair for one in found.sets], None)


def _facts(found: Comparison) -> dict[str, Any]:
    """Return what a reader must know to compare the numbers with others."""
    one, facts = found.sets[0], collect_environment()
    return {
        "sets": [
            {"pair": each.pair, "list": each.list_name, "framing": each.framing, "protocol": each.protocol,
             "pairs": len(each.pair_ids)}
            for each in found.sets
        ],
        "tests": {m: list(dict.fromkeys(str(test.folder) for test in tests)) for m, tests in found.sources.items()},
        "protocol": one.protocol,
        "left_out": list(found.left_out),
        **{key: facts[key] for key in _FACTS},
    }  # fmt: skip


def _page(found: Comparison, lines: Sequence[str]) -> list[str]:
    pairs = ", ".join(one.pair for one in found.sets)
    what = f"{what_of(found)}, {found.sets[0].protocol}"
    start = ["# Analyses", "", f"{', '.join(found.sources)} on {pairs}: {what}.", ""]
    left_out = ["Left out:", "", *(f"- {line}" for line in found.left_out), ""] if found.left_out else []
    return [*start, *left_out, *lines]


if __name__ == "__main__":
    raise SystemExit(main())
