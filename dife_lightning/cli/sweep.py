"""``dife sweep FILE``: train with many settings, from the file that `wandb sweep` takes, without a server."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.cli.options import VerbParser
from dife_lightning.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from dife_lightning.sweeps.definition import Sweep
    from dife_lightning.sweeps.study import SweepFolder

_ABOUT = """Trains one run for each choice of the settings under `parameters` in FILE, and reports the best. FILE has
the format of `wandb sweep`; it is a path or a shipped name, such as sweeps/lambdas. After any interruption, the same
command resumes the sweep, each training from its last checkpoint. `wandb sweep` itself needs a server and cannot be
started offline: use `dife sweep` there.
"""
_MORE = """Writes sweep.csv, sweep.md and pictures into sweeps/NAME. Needs `pip install 'dife-lightning[sweeps]'`. See
docs/sweeps.md.

examples:
  dife sweep sweeps/lambdas --trials 16 --parallel 2
  dife sweep sweeps/lambdas --best
  dife sweep mine.yaml --name short -- --trainer.max_steps 300
"""


def _parser() -> argparse.ArgumentParser:
    usage = "dife sweep FILE [options] [-- words for each `dife fit`]"
    parser = VerbParser(prog="dife sweep", usage=usage, description=_ABOUT, epilog=_MORE)
    for name, kind, default, text in (
        ("file", str, None, "a path or a shipped name"),
        ("--trials", _count, math.inf, "number of trainings (default: all of a grid, run_cap of the file)"),
        ("--parallel", _count, 1, "trainings at a time, which share the CPU's threads (1)"),
        ("--name", _name, None, "name of the results' folder (default: that of the file)"),
        ("--seed", int, 0, "of the methods random and bayes (0)"),
        ("--sweeps_root", str, "sweeps", "folder that holds all sweeps (sweeps)"),
    ):
        parser.add_argument(name, type=kind, default=default, help=text, metavar=name.strip("-").upper())
    parser.add_argument("--retry", action="store_true", help="repeat failed trials")
    parser.add_argument("--best", action="store_true", help="only print the `dife fit` command of the best trial")
    return parser


def _count(text: str) -> int:
    if text.isdigit() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found '{text}'")


def _name(text: str) -> str:
    if Path(text).name == text and text not in ("", ".."):
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is not a folder name; --sweeps_root is the folder that holds sweeps")


def say(text: str) -> None:
    """Print a line at once; a closed pipe does not end a sweep."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def run(verb: str, args: list[str]) -> int:
    """Run ``dife sweep`` and return the exit code."""
    at = args.index("--") if "--" in args else len(args)
    options, more = _parser().parse_args(args[:at]), args[at + 1 :]
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("`dife sweep` needs Optuna; type `pip install 'dife-lightning[sweeps]'`.")
    from dife_lightning.sweeps.definition import check_word, find_sweep, read_sweep
    from dife_lightning.sweeps.study import SweepFolder, locked

    for word in more:
        check_word(word, "words after --")
    path = find_sweep(options.file)
    sweep = read_sweep(path)
    folder = Path(options.sweeps_root) / (options.name or path.stem)
    if options.best:
        return show_best(sweep, SweepFolder(folder), more)
    if "early_terminate" in sweep.content:
        print("note: `dife sweep` ignores early_terminate; every trial runs to its end", file=sys.stderr)
    count = min(sweep.most, options.trials)
    if count == math.inf:
        raise UsageError(f"method {sweep.method} never ends; add --trials N, or run_cap: N in the file.")
    with locked(folder) as opened:
        run_missing(sweep, opened, options, int(count), more)
        return conclude(sweep, opened, more)


def run_missing(sweep: Sweep, folder: SweepFolder, options: argparse.Namespace, count: int, more: list[str]) -> None:
    """Run the trials that are missing of ``count``, unless the sweep was started with other settings."""
    from dife_lightning.sweeps import launch
    from dife_lightning.sweeps.runner import Runner, todo

    facts = json.loads(json.dumps({**sweep.identity(), "seed": options.seed, "words": more}, default=str))
    folder.check_begun(facts)
    missing = todo(folder.trials(), count, options.retry)
    if missing:
        begin(sweep, folder, facts)
        print(f"sweep: {folder.path}, {count} trials, {len(missing)} to run", file=sys.stderr)
        words = [*more, *folder.begun["fixed"]]  # last, since ``more`` may ask for precision auto
        runner = Runner(sweep, folder, options.seed, words, options.parallel, launch.launch_fit, say)
        with launch.stopped_by_signals():
            runner.run(missing, count)


def begin(sweep: Sweep, folder: SweepFolder, facts: dict[str, Any]) -> None:
    """Resolve the settings of the first trial, which finds misspelt keys, and store them or compare with those stored.

    A precision of ``auto`` is chosen once: probed by each trial, it could differ with the load.
    """
    from dife_lightning.cli.settings import resolved_settings
    from dife_lightning.running.precision import probe_precision, time_convolution
    from dife_lightning.sweeps.study import suggest

    trials = folder.trials()
    values = trials[0].params if trials else suggest(sweep, 0, facts["seed"], [])
    settings = resolved_settings(sweep.command(values, facts["words"]))
    folder.check_begun({**facts, "settings": settings})
    if folder.begun:
        return
    trainer, fixed = settings["trainer"], []
    if trainer.get("precision") == "auto" and not {"config", "trainer.precision"} & set(sweep.parameters):
        choice = probe_precision(time_convolution if trainer.get("accelerator") == "cpu" else None)
        print(f"precision of all trials: {choice.name} ({choice.reason})", file=sys.stderr)
        fixed = [f"--trainer.precision={choice.name}"]
    folder.begin(sweep, {**facts, "settings": settings, "fixed": fixed})


def conclude(sweep: Sweep, folder: SweepFolder, more: Sequence[str]) -> int:
    """Print and write the results, and name the trials that failed; it is an error if all of them did."""
    from dife_lightning.sweeps.report import write_report

    trials = folder.trials()
    failed = {trial.number: trial.user_attrs["message"] for trial in trials if "message" in trial.user_attrs}
    hint = f"see {folder.path}/logs; --retry repeats them"
    if len(failed) == len(trials):
        raise TrainingError(f"all {len(failed)} trials failed, the first with: {min(failed.items())[1]} ({hint})")
    written = write_report(sweep, folder.path, trials, more)
    print(f"{folder.path}/{', '.join(path.name for path in written)}")
    if failed:
        print(f"failed: {', '.join(map(str, failed))} ({hint})", file=sys.stderr)
    return 0


def show_best(sweep: Sweep, folder: SweepFolder, more: Sequence[str]) -> int:
    """Print the command of the best trial so far; it is an error if none has finished."""
    from dife_lightning.sweeps.report import winner_command
    from dife_lightning.sweeps.study import ranked

    folder.check_begun(sweep.identity())
    order = ranked(sweep, folder.trials())
    if not order:
        raise UsageError(f"no trial of {folder.path} has finished; run `dife sweep` without --best first.")
    best = order[0]
    print(winner_command(sweep, best, [*folder.begun["words"], *more]))
    told = f"trial {best.number}: {sweep.metric} {best.value:.4g} at step {best.user_attrs['step']}"
    print(f"{told}, trained in {folder.run(best.number).path}", file=sys.stderr)
    return 0
