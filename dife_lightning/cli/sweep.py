"""``dife sweep FILE``: many trainings with other settings, without a server, from the file that `wandb sweep` takes."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dife_lightning.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from dife_lightning.sweeps.definition import Sweep
    from dife_lightning.sweeps.launch import Launch
    from dife_lightning.sweeps.records import SweepFolder, Trial

_USAGE = """usage: dife sweep FILE [options] [-- words for each `dife fit`]

Trains one run for each choice of the settings that FILE names under `parameters`, and says which did best. FILE is in
the format of `wandb sweep`, a path or a shipped name (sweeps/lambdas); no server is asked. Interrupted by whatever, the
same command goes on; an interrupted training goes on from its last checkpoint.

  --trials N       how many trainings; all of a grid, run_cap of the file for the other methods
  --parallel P     trainings at a time, each with its share of the CPU's threads (1)
  --name NAME      the results' folder is sweeps/NAME; the file's name
  --seed N         another choice of settings by methods random and bayes (0)
  --retry          make trials that failed again
  --best           print the `dife fit` command of the best trial so far, and nothing else
  --sweeps_root R  the folder that holds the sweeps (sweeps)

Writes sweep.csv, sweep.md, parallel.png and, where two settings vary, heatmap.png. Method bayes is Optuna's TPE
(pip install 'dife-lightning[sweeps]'). docs/sweeps.md tells more.

examples:
  dife sweep sweeps/lambdas --trials 16 --parallel 2
  dife sweep sweeps/lambdas --best
  dife sweep mine.yaml --name short -- --trainer.max_steps 300
"""


def run(verb: str, args: list[str]) -> int:
    """Run ``dife sweep`` and return the exit code."""
    at = args.index("--") if "--" in args else len(args)
    own, more = args[:at], args[at + 1 :]
    if not own or set(own) & {"-h", "--help"}:
        print(_USAGE, end="")
        return 0 if own else 2
    options = _parse(own)
    from dife_lightning.sweeps.definition import check_word, find_sweep, read_sweep
    from dife_lightning.sweeps.records import SweepFolder

    for word in more:
        check_word(word, "words after --")
    path = find_sweep(options.file)
    sweep = read_sweep(path)
    folder = SweepFolder(Path(options.sweeps_root) / _name(options.name or path.stem))
    if options.best:
        return show_best(sweep, folder, more)
    for note in sweep.notes:
        print(f"note: {note}", file=sys.stderr)
    return make(sweep, folder, options, more)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `dife sweep --help` shows the options.")


def _parse(words: list[str]) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--trials", type=_count)
    parser.add_argument("--parallel", type=_count, default=1)
    parser.add_argument("--name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sweeps_root", default="sweeps")
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--best", action="store_true")
    return parser.parse_args(words)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found '{text}'")
    return int(text)


def _name(name: str) -> str:
    if not name or Path(name).name != name or name in (".", ".."):
        raise UsageError(f"--name '{name}' is not a folder name; use --sweeps_root for the folder that holds sweeps.")
    return name


def number_of_trials(sweep: Sweep, wanted: int | None) -> int:
    """Return how many trials a sweep has: the least of what was asked for, what the file allows, and a grid's size.

    Raises:
        UsageError: there is no end of them.
    """
    from dife_lightning.sweeps.suggest import grid_size

    bounds = [bound for bound in (wanted, sweep.run_cap) if bound is not None]
    if sweep.method == "grid":
        bounds.append(grid_size(sweep))
    if not bounds:
        raise UsageError(f"method {sweep.method} has no end; say --trials N, or run_cap: N in the file.")
    return min(bounds)


def make(
    sweep: Sweep, folder: SweepFolder, options: argparse.Namespace, more: Sequence[str], launch: Launch | None = None
) -> int:
    """Make the trials that are missing, tell what came out, and return the exit code.

    Args:
        sweep: what the file says.
        folder: of the results.
        options: of the command.
        more: words for each `dife fit`.
        launch: starts a trial; as a process of `dife fit` by default.
    """
    from dife_lightning.sweeps.launch import launch_fit, stopped_by_signals
    from dife_lightning.sweeps.runner import Runner, todo
    from dife_lightning.sweeps.suggest import check_method

    check_method(sweep)
    count = number_of_trials(sweep, options.trials)
    with _locked(folder.path):
        folder.check_identity(_identity(sweep, options.seed, more))
        numbers = todo(folder.trials(), count, options.retry)
        if numbers:
            check_settings(sweep, folder, options.seed, more)
            words = [*more, *folder.known("fixed", [])]  # last: the words may ask for what is fixed here
            print(f"sweep: {folder.path}, {count} trials, {len(numbers)} to make", file=sys.stderr)
            runner = Runner(
                sweep, folder, seed=options.seed, more=words, parallel=options.parallel, launch=launch or launch_fit
            )
            with stopped_by_signals():
                runner.run(numbers, count)
        return conclude(sweep, folder, folder.trials(), more)


def _identity(sweep: Sweep, seed: int, more: Sequence[str]) -> dict[str, Any]:
    return {**sweep.identity(), "seed": seed, "words": list(more)}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other sweeps out of a folder, and leave none behind that is empty."""
    from dife_lightning.running.folders import drop_if_empty
    from dife_lightning.running.locks import RunLock

    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = RunLock(folder)
    except UsageError:
        raise UsageError(
            f"another `dife sweep` is at work in {folder}; wait for it, or choose another --name."
        ) from None
    try:
        yield
    finally:
        lock.release()
        drop_if_empty(folder)


def check_settings(sweep: Sweep, folder: SweepFolder, seed: int, more: Sequence[str]) -> None:
    """Resolve the settings of the first trial, so that a misspelt key is found now, and write them down.

    Raises:
        UsageError: a key or value is not understood, or the settings are no longer those of the trials made before.
    """
    from dife_lightning.cli.settings import resolved_settings
    from dife_lightning.sweeps.suggest import suggest

    known = [trial.parameters for trial in folder.trials() if trial.number == 0]
    values = known[0] if known else suggest(sweep, 0, seed, [])
    settings = resolved_settings(sweep.command(values, more))
    identity = {**_identity(sweep, seed, more), "settings": settings}
    folder.check_identity(identity)
    if not folder.known("settings", None):
        folder.write_identity({**identity, "fixed": fixed_words(sweep, settings)})


def fixed_words(sweep: Sweep, settings: dict[str, Any]) -> list[str]:
    """Return what all trials are given so that they can be compared: the precision, where each would probe for its own.

    What a probe finds depends on what else the machine does at that moment.
    """
    from dife_lightning.running.precision import probe_precision, time_convolution

    names = {parameter.name for parameter in sweep.parameters}
    trainer = settings["trainer"]
    if trainer.get("precision") != "auto" or names & {"config", "trainer.precision"}:
        return []
    choice = probe_precision(time_convolution if trainer.get("accelerator") == "cpu" else None)
    print(f"precision of all trials: {choice.name} ({choice.reason})", file=sys.stderr)
    return [f"--trainer.precision={choice.name}"]


def conclude(sweep: Sweep, folder: SweepFolder, trials: Sequence[Trial], more: Sequence[str]) -> int:
    """Print and write what came out; name the trials that failed.

    Raises:
        TrainingError: all of them did.
    """
    from dife_lightning.sweeps.report import print_table, write_report

    failed = [trial for trial in trials if trial.state == "failed"]
    if all(trial.objective is None for trial in trials):
        raise TrainingError(
            f"all {len(failed)} trials failed, trial {failed[0].number} so: {failed[0].message.rstrip('.')}. "
            f"The output of each is in {folder.path}/logs; --retry makes them again."
        )
    print_table(sweep, trials)
    written = write_report(sweep, folder, trials, more)
    print(f"{folder.path}/{', '.join(path.name for path in written)}")
    if failed:
        which = ", ".join(str(trial.number) for trial in failed)
        print(f"failed: {which} (see {folder.path}/logs); --retry makes them again", file=sys.stderr)
    return 0


def show_best(sweep: Sweep, folder: SweepFolder, more: Sequence[str]) -> int:
    """Print the command of the best trial so far.

    Raises:
        UsageError: there is no such sweep, it was begun with another file, or no trial has finished.
    """
    from dife_lightning.sweeps.objective import ranked
    from dife_lightning.sweeps.report import winner_command

    folder.check_identity(sweep.identity())
    trials = folder.trials()
    order = ranked(sweep, trials)
    if not order:
        raise UsageError(f"no trial of {folder.path} has finished; run `dife sweep` without --best first.")
    best = order[0]
    print(winner_command(sweep, best, [*folder.known("words", []), *more]))
    told = f"trial {best.number} of {len(trials)}: {sweep.metric} {best.objective:.4g} at step {best.step}"
    print(f"{told}, trained in {folder.run(best.number)}", file=sys.stderr)
    return 0
