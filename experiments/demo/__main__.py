"""The whole of DIFE on the embedded world: train both stages, train the equal-time control, test, draw, report.

``python -m experiments.demo`` prints each `dife` command that it runs, so that it can be typed again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dife_lightning.utils.environment import collect_environment
from dife_lightning.utils.files import write_json
from experiments.common import runs
from experiments.common.rows import CLAIM_LIST, METHODS, check_rows, compare, plain, ratios, read_rows
from experiments.common.runs import Run, guarded
from experiments.demo.report import print_report

#: Pair -> kinds of pair that its model is tested on; `wild` is a species that no model was trained on.
TESTED = {"human+dog": ["human+dog"], "human+cat": ["human+cat", "human+wild"], "dog+cat": ["dog+cat"]}
PAPER_LIST = "paper"
#: A demo in seconds that shows nothing but that it runs; for tests.
FAST_FIT = (
    "--model.init_args.warmup_steps=4",
    "--trainer.max_steps=6",
    "--trainer.val_check_interval=2",
    "--data.init_args.evaluation.init_args.val_count=4",
)
FAST_COUNT = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    options = parse(arguments)
    return guarded(lambda: demo(options), "`make demo` starts again")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options and fill in those that depend on others."""
    parser = argparse.ArgumentParser(prog="python -m experiments.demo", description=__doc__)
    parser.add_argument("--pair", choices=TESTED, default="human+dog", help="species, source first")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--out", type=Path, help="folder of the results; results/demo, with the pair and seed if given")
    parser.add_argument("--runs_root", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--config", help="configuration of the fit; world/<pair> by default")
    parser.add_argument("--fast", action="store_true", help="a few steps and pairs, to see that everything runs")
    options = parser.parse_args(arguments)
    stem = options.pair.replace("+", "_")
    usual = options.pair == "human+dog" and options.seed == 0
    options.name = f"demo-{stem}-{options.seed}"
    options.out = options.out or Path("results") / ("demo" if usual else options.name)
    options.config = options.config or f"world/{stem}"
    return options


def demo(options: argparse.Namespace) -> dict[str, Any]:
    """Train, test, draw and report; return what is in ``summary.json``."""
    start = time.perf_counter()
    run = Run(options.runs_root, options.name)
    control = Run(options.runs_root, f"{options.name}-warmup")
    _heading(1, "DIFE: warm-up, then matching on pseudo-pairs")
    extra = FAST_FIT if options.fast else ()
    seconds: dict[str, float] = {"fit": runs.call(runs.fit_words(options.config, run, options.seed, extra))}
    _heading(2, "Control: the warm-up alone, trained on for as long as the matching took")
    seconds["control"] = train_control(run, control)
    _heading(3, "Tests")
    tested = time.perf_counter()
    folders, data = run_tests(options, run, control)
    seconds["test"] = time.perf_counter() - tested
    _heading(4, "Pictures")
    drawn = time.perf_counter()
    pictures = draw(run, data, options)
    seconds["pictures"] = time.perf_counter() - drawn
    summary = summarize(options, run, control, folders)
    seconds["total"] = time.perf_counter() - start
    summary |= {"seconds": {name: round(value, 1) for name, value in seconds.items()}, "pictures": pictures}
    write_json(options.out / "summary.json", summary)
    print(f"\n{options.out}/summary.json and {', '.join(pictures.values())}; {seconds['total'] / 60:.1f} minutes")
    return summary


def train_control(run: Run, control: Run) -> float:
    """Continue the warm-up of ``run`` without matching, in equal time; return the seconds of the command."""
    steps = runs.control_steps(run.stages(), int(run.settings()["trainer"]["val_check_interval"]))
    taken = runs.call(runs.control_words(run, control, steps))
    matching, alone = run.stages()["matching"]["seconds"], control.stages()["matching"]["seconds"]
    print(f"matching with pair synthesis took {matching:.0f} s, training on without it {alone:.0f} s")
    return taken


def run_tests(options: argparse.Namespace, run: Run, control: Run) -> tuple[dict[str, Path], Any]:
    """Test all methods on both lists; return method -> folder of its results, and the test pairs."""
    from experiments.common.baselines import baselines, score, world_pairs

    settings, count = run.settings(), FAST_COUNT if options.fast else None
    pairs, lists = TESTED[options.pair], [PAPER_LIST, CLAIM_LIST]
    print("rendering the test pairs (once; they are kept in the cache) ...", flush=True)
    data = world_pairs(settings["data"]["init_args"]["evaluation"]["init_args"], pairs, lists, count)
    folders = {}
    for name, module in baselines(settings["model"]["init_args"]["teacher"]).items():
        folders[name] = options.out / "tests" / name
        print(f"testing {name} ...", flush=True)
        score(name, module, data, folders[name])
    for name, trained in (("dife-warmup", control), ("dife", run)):
        folders[name] = trained.folder / "eval" / "test"
        runs.call(runs.evaluation_words(trained, pairs, lists, count), show=False)
    return folders, data


def draw(run: Run, data: Any, options: argparse.Namespace) -> dict[str, str]:
    """Write the pictures and return picture -> file name."""
    import dife_lightning
    from dife_lightning.registry import get_method
    from experiments.demo.pictures import draw_all

    teacher = run.settings()["model"]["init_args"]["teacher"]
    methods = {
        "DIFE": dife_lightning.load(run.folder),
        "surface teacher": get_method("frozen-embedder")(embedder=teacher),
    }
    return draw_all(methods, data, run.folder, options.out, seed=options.seed)


def summarize(options: argparse.Namespace, run: Run, control: Run, folders: dict[str, Path]) -> dict[str, Any]:
    """Gather the rows and comparisons, print them, and return them with the circumstances."""
    rows = [row for name in METHODS for row in read_rows(folders[name], name, CLAIM_LIST)]
    paper = [row for name in METHODS for row in read_rows(folders[name], name, PAPER_LIST)]
    for found in (rows, paper):
        check_rows(found)
    comparisons, shares = compare(folders, TESTED[options.pair]), ratios(rows)
    print_report(rows, comparisons, shares)
    facts = collect_environment()
    return {
        "rows": rows,
        "paper_rows": paper,
        "comparisons": plain(comparisons),
        "ratios": plain(shares),
        "stages": {"dife": run.stages(), "dife-warmup": control.stages()},
        "seed": options.seed,
        "fast": options.fast,
        **{key: facts[key] for key in ("commit", "dirty", "versions", "machine", "time")},
        "runs": {"dife": str(run.folder), "dife-warmup": str(control.folder)},
        "predictions": {name: str(folder / "predictions.csv") for name, folder in folders.items()},
    }


def _heading(number: int, text: str) -> None:
    print(f"\n── {number}. {text} ──", flush=True)


if __name__ == "__main__":
    sys.exit(main())
