"""Kill a training at random moments, resume it, and check that its result is bit-equal to an undisturbed one.

``python -m experiments.checks.kills --kills 20`` trains human and dog of the embedded world for a few seconds. The
signals SIGKILL, SIGTERM and SIGINT take turns, as do 0 and 2 loader processes; a run may be killed several times. On
Windows there is only SIGTERM, which kills like SIGKILL.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from dife_lightning.errors import TrainingError
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.common.commands import guarded
from experiments.common.jobs import place_words

#: A training of seconds with both stages, two refreshes of pairs and several validations.
SHORT = (
    "--model.init_args.warmup_steps=10",
    "--model.init_args.pairs={refresh_every: 4, per_refresh: 2, first: 3, bank_size: 4, batch_size: 4}",
    "--model.init_args.exploration.steps=3",
    "--model.init_args.distillation.statistics_samples=32",
    "--trainer.max_steps=24",
    "--trainer.val_check_interval=5",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--data.init_args.evaluation.init_args.val_count=4",
)
if sys.platform == "win32":
    SIGNALS: tuple[signal.Signals, ...] = (signal.SIGTERM,)
else:
    SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: Parts of a checkpoint that must be equal to the last bit.
DECISIVE = ("state_dict", "optimizer_states", "lr_schedulers", "pseudo_pairs", "global_step")


def main(words: Sequence[str] | None = None) -> int:
    """Run the undisturbed and the killed trainings; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="total number of signals (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="folder of the runs (%(default)s)")
    parser.add_argument(
        "--report", type=Path, default=Path("results/kills.json"), help="file of the report (%(default)s)"
    )
    parser.add_argument("--config", default="world/human_dog", help="configuration of the training (%(default)s)")
    options = parser.parse_args(words)
    return guarded(lambda: kills(options), "run the same command to start again")


def kills(options: argparse.Namespace) -> int:
    """Kill trainings and report; returns 1 if one ended unequal."""
    report = attack(options.config, SHORT, options.out, options.kills, options.seed)
    write_json(options.report, report)
    print(f"{report['kills']} kills in {len(report['runs'])} runs, {report['unequal']} ended unequal; {options.report}")
    return int(report["unequal"] > 0)


def attack(config: str, extra: Sequence[str], out: Path, kills: int, seed: int) -> dict[str, Any]:
    """Train once undisturbed, then again and again with signals, until ``kills`` of them hit a training.

    Returns:
        What happened; ``unequal`` counts the runs whose result differs from the undisturbed one.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    start, reference = time.perf_counter(), RunFolder(out, "reference")
    wait_for(start_fit(config, extra, reference))
    whole = time.perf_counter() - start
    wanted, rows = read_checkpoint(reference.last_checkpoint), _rows(reference.path)
    rng = random.Random(seed)
    signals = itertools.chain.from_iterable(rng.sample(SIGNALS, len(SIGNALS)) for _ in itertools.count())
    runs: list[dict[str, Any]] = []
    while (hits := sum(len(run["kills"]) for run in runs)) < kills:
        run, workers = RunFolder(out, f"run-{len(runs)}"), len(runs) % 2 * 2
        words = [*extra, f"--data.init_args.num_workers={workers}"]
        done = _killed(config, words, run, rng.randint(1, 3), whole, signals)
        differs = differences(wanted, read_checkpoint(run.last_checkpoint))
        differs += [] if _rows(run.path) == rows else ["metrics.csv"]
        runs.append({"workers": workers, "kills": done, "differs": differs})
        told = [f"{kill['signal']} after {kill['seconds']:.1f} s (continued from step {kill['step']})" for kill in done]
        end = "equal" if not differs else f"differs in {', '.join(differs)}"
        print(f"{run.name}: {workers} workers, {', '.join(told) or 'no hit'}: {end}", flush=True)
    return {"kills": hits, "runs": runs, "unequal": sum(bool(run["differs"]) for run in runs), "seed": seed}


def _killed(
    config: str, extra: Sequence[str], run: RunFolder, count: int, whole: float, signals: Iterator[signal.Signals]
) -> list[dict[str, Any]]:
    """Train with up to ``count`` signals, then to the end; returns the signals.

    Each has its name, the seconds after which it was sent, and the step from which the run continued (None: anew).
    """
    done: list[dict[str, Any]] = []
    rng = random.Random(f"{run.name}/{count}")
    for _ in range(count):
        process = start_fit(config, extra, run)
        seconds = whole * rng.uniform(0.35, 1.0)  # earlier moments would only hit imports
        try:
            process.wait(seconds)
            return done
        except subprocess.TimeoutExpired:
            number = next(signals)
            process.send_signal(number)
            process.wait(120)
        last = run.last_checkpoint
        step = read_checkpoint(last)["global_step"] if last.is_file() else None
        done.append({"signal": number.name, "seconds": round(seconds, 2), "step": step})
    wait_for(start_fit(config, extra, run))
    return done


def start_fit(config: str, extra: Sequence[str], run: RunFolder) -> subprocess.Popen[bytes]:
    """Start a training, or continue it if there is a checkpoint; its output goes to a log file beside the run."""
    resume = run.last_checkpoint.is_file()
    words = ["--ckpt_path", "last"] if resume else ["--config", config, "--config", "trainer/cpu", *extra]
    command = [sys.executable, "-m", "dife_lightning", "fit", *words, *place_words(run, overwrite=not resume)]
    with (run.root / f"{run.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def wait_for(process: subprocess.Popen[bytes]) -> None:
    """Wait for a training to end; TrainingError if it fails."""
    if process.wait():
        raise TrainingError(f"`{' '.join(map(str, process.args))}` failed; see its log")  # type: ignore[arg-type]


def _rows(run: Path) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv`` without empty cells."""
    with RunFolder.at(run).log.open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def differences(left: Any, right: Any) -> list[str]:
    """Return which decisive parts of two checkpoints are not equal to the last bit."""
    return [key for key in DECISIVE if not same(left.get(key), right.get(key))]


def same(left: Any, right: Any) -> bool:
    """Compare nested values; tensors must be bit-equal."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


if __name__ == "__main__":
    raise SystemExit(main())
