"""Kill a training at random moments, resume it, and check that it ends bit-equal to an undisturbed one.

``python -m experiments.checks.kills --kills 20`` trains human and dog of the embedded world for a few seconds. The
signals SIGKILL, SIGTERM and SIGINT take turns, as do 0 and 2 loader processes; a run may be killed several times.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dife_lightning.errors import TrainingError
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.common.commands import guarded

#: A schedule of seconds in which everything happens: both stages, two refreshes of pairs, several validations.
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
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: Parts of a checkpoint that must be equal to the last bit.
DECISIVE = ("state_dict", "optimizer_states", "lr_schedulers", "pseudo_pairs", "global_step")


@dataclass(frozen=True)
class Kill:
    """One signal: which, after how many seconds, and the step from which the run then went on (None: anew)."""

    signal: str
    seconds: float
    step: int | None


def main(words: Sequence[str] | None = None) -> int:
    """Run the undisturbed and the killed trainings; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="signals in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="folder of the runs (%(default)s)")
    parser.add_argument("--report", type=Path, default=Path("results/kills.json"), help="(%(default)s)")
    parser.add_argument("--config", default="world/human_dog", help="of the training (%(default)s)")
    options = parser.parse_args(words)
    return guarded(lambda: kills(options), "run the same command to start again")


def kills(options: argparse.Namespace) -> int:
    """Attack trainings and report; returns 1 where one ended unequal."""
    report = attack(options.config, SHORT, options.out, options.kills, options.seed)
    write_json(options.report, report)
    print(f"{report['kills']} kills in {len(report['runs'])} runs, {report['unequal']} ended unequal; {options.report}")
    return int(report["unequal"] > 0)


def attack(config: str, extra: Sequence[str], out: Path, kills: int, seed: int) -> dict[str, Any]:
    """Train once undisturbed, then again and again with signals, until ``kills`` of them hit a training.

    Returns:
        What happened; ``unequal`` counts runs whose end differs from the undisturbed one.
    """
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    _finish(_fit(config, extra, out, "reference"))
    whole = time.perf_counter() - start
    wanted, rows = read_checkpoint(RunFolder(out, "reference").last_checkpoint), _rows(out / "reference")
    rng, runs = random.Random(seed), []
    plan, hits = _plan(rng), 0
    while hits < kills:
        name, workers = f"run-{len(runs)}", len(runs) % 2 * 2
        words = [*extra, f"--data.init_args.num_workers={workers}"]
        done = _struck(config, words, out, name, rng.randint(1, 3), whole, plan)
        hits += len(done)
        differs = differences(wanted, read_checkpoint(RunFolder(out, name).last_checkpoint))
        differs += [] if _rows(out / name) == rows else ["metrics.csv"]
        runs.append({"workers": workers, "kills": [vars(kill) for kill in done], "differs": differs})
        print(f"{name}: {workers} workers, {', '.join(_text(kill) for kill in done) or 'no hit'}: ", end="")
        print("equal" if not differs else f"differs in {', '.join(differs)}", flush=True)
    return {"kills": hits, "runs": runs, "unequal": sum(bool(run["differs"]) for run in runs), "seed": seed}


def _plan(rng: random.Random) -> Iterator[signal.Signals]:
    while True:
        yield from rng.sample(SIGNALS, len(SIGNALS))


def _struck(
    config: str, extra: Sequence[str], out: Path, name: str, count: int, whole: float, plan: Iterator[signal.Signals]
) -> list[Kill]:
    """Train with up to ``count`` signals, then to the end."""
    done: list[Kill] = []
    rng, last = random.Random(f"{name}/{count}"), RunFolder(out, name).last_checkpoint
    for _ in range(count):
        process = _fit(config, extra, out, name, resume=last.is_file())
        # early moments are spent on imports, where there is nothing to lose yet
        seconds = whole * rng.uniform(0.35, 1.0)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            number = next(plan)
            process.send_signal(number)
            process.wait(120)
            step = read_checkpoint(last)["global_step"] if last.is_file() else None
            done.append(Kill(number.name, round(seconds, 2), step))
        else:
            return done
    _finish(_fit(config, extra, out, name, resume=last.is_file()))
    return done


def _fit(config: str, extra: Sequence[str], out: Path, name: str, resume: bool = False) -> subprocess.Popen[bytes]:
    place = ["--runs_root", str(out), "--run", name, *(["--ckpt_path", "last"] if resume else ["--overwrite"])]
    out.mkdir(parents=True, exist_ok=True)
    words = [] if resume else ["--config", config, "--config", "trainer/cpu", *extra]
    log = (out / f"{name}.log").open("ab")
    command = [sys.executable, "-m", "dife_lightning", "fit", *words, *place]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    log.close()
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise TrainingError(f"`{' '.join(map(str, process.args))}` failed; see its log")  # type: ignore[arg-type]


def _rows(run: Path) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv`` without the columns that other rows brought in."""
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


def _text(kill: Kill) -> str:
    return f"{kill.signal} after {kill.seconds:.1f} s (went on from step {kill.step})"


if __name__ == "__main__":
    raise SystemExit(main())
