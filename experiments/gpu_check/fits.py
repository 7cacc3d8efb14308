"""Short trainings: one in each precision, the gradient scaler, and one that is killed and resumed."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dife_lightning.errors import TrainingError
from dife_lightning.utils.run_folder import TEST_METRICS, RunFolder
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.bench.timing import FP32
from experiments.checks.kills import SHORT, start_fit, wait_for
from experiments.common import commands
from experiments.gpu_check.setting import FP16, Setting

CONFIG = "world/human_dog"
#: Steps of the warm-up, and of both stages together.
STEPS, SMALL_STEPS = (400, 550), (6, 12)
#: What makes a step quick on a CPU.
QUICK = ("--data.init_args.batch_size=4", "--model.init_args.distillation.statistics_samples=8")
#: Test pairs.
PAIRS, SMALL_PAIRS = 400, 4
#: Scale with which PyTorch's gradient scaler starts; each skipped step halves it.
FIRST_SCALE = 2.0**16
#: Share of steps that a scaler may skip.
MOST_SKIPPED = 0.05
#: Relative distance of weights after a resumed run: as much as rounding may do, or so many times what two undisturbed
#: runs differ by. (Sums on a GPU depend on the order in which its threads end.)
ROUNDING, TIMES_REPEATED = 1e-6, 3.0


def fit_in(setting: Setting, precision: str) -> dict[str, Any]:
    """Train human and dog of the world in a precision and test in fp32.

    Returns:
        Milliseconds of a step of each stage, memory, ``pixel_error`` and ``ci95``; in half precision ``scaler`` too.
    """
    warmup, total = SMALL_STEPS if setting.small else STEPS
    first, steps, count = (2, 2, SMALL_PAIRS) if setting.small else (16, 40, PAIRS)
    run = setting.run(f"fit-{precision}")
    words = [
        *setting.trainer_words(precision),
        f"--model.init_args.warmup_steps={warmup}",
        f"--model.init_args.exploration.steps={steps}",
        f"--model.init_args.pairs={{refresh_every: 50, per_refresh: 4, first: {first}, bank_size: 32, batch_size: 8}}",
        f"--trainer.max_steps={total}",
        f"--trainer.val_check_interval={total}",
        f"--data.init_args.evaluation.init_args.val_count={min(count, 64)}",
        *(QUICK if setting.small else ()),
    ]
    found = setting.timed_fit(CONFIG, run, words, warmup)
    out = setting.work / f"test-{precision}"
    counted = f"--data.init_args.evaluation.init_args.count={count}"
    commands.call(["test", "--ckpt_path", str(run.path), "--out", str(out), "--trainer.precision=32-true", counted])
    scaler = read_scaler(read_checkpoint(run.last_checkpoint), total) if precision == FP16 else None
    return {**found, **first_row(out / TEST_METRICS), **({"scaler": scaler} if scaler else {})}


def first_row(path: Path) -> dict[str, Any]:
    """Return error and interval of nine landmarks on jittered faces from the results of a test."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    row = next(row for row in rows if (row["framing"], row["protocol"]) == ("jittered", "9-point"))
    return {key: row[key] for key in ("pixel_error", "ci95", "pairs")}


def read_scaler(checkpoint: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return the gradient scaler's ``scale``, the ``skipped`` steps, and whether it was ``used`` and is ``stuck``.

    It starts at 65,536, halves its scale with each skipped step, and doubles it after 2,000 good ones only, so in a
    shorter training the scale counts the skipped steps. It is stuck if it still skips at the end or skipped too many.
    """
    state = checkpoint.get("MixedPrecision")
    if not state:
        return {"used": False, "stuck": False, "scale": None, "skipped": None}
    scale = float(state["scale"])
    skipped = math.inf if scale <= 0 else round(math.log2(FIRST_SCALE / scale))
    stuck = skipped > max(2, MOST_SKIPPED * steps) or int(state["_growth_tracker"]) == 0
    return {"used": True, "stuck": stuck, "scale": scale, "skipped": skipped}


def resume(setting: Setting) -> dict[str, Any]:
    """Kill a short training after its first checkpoint, resume it, and compare it with an undisturbed one.

    Returns:
        ``killed_at``: the step of the checkpoint; ``difference``: relative distance of the weights of the resumed run
        from those of the undisturbed one; ``repeated``: that of a second undisturbed run, 0 on a CPU, which repeats
        itself; ``equal``: whether the difference is no more than rounding.
    """
    words = [*SHORT, *setting.trainer_words(FP32), *(QUICK if setting.small else ())]
    whole, again, killed = (setting.run(f"resume-{name}") for name in ("whole", "again", "killed"))
    setting.work.mkdir(parents=True, exist_ok=True)
    for run in (whole, again, killed):
        shutil.rmtree(run.path, ignore_errors=True)  # an earlier check's, which would be continued
    wait_for(start_fit(CONFIG, words, whole))
    wanted, repeated = read_checkpoint(whole.last_checkpoint), 0.0
    if setting.device.type != "cpu":
        wait_for(start_fit(CONFIG, words, again))
        repeated = distance(wanted["state_dict"], read_checkpoint(again.last_checkpoint)["state_dict"])
    step = _kill_after_checkpoint(words, killed)
    wait_for(start_fit(CONFIG, words, killed))
    found = read_checkpoint(killed.last_checkpoint)
    difference = distance(wanted["state_dict"], found["state_dict"])
    equal = difference <= max(ROUNDING, TIMES_REPEATED * repeated) and found["global_step"] == wanted["global_step"]
    return {"killed_at": step, "difference": difference, "repeated": repeated, "equal": equal}


def _kill_after_checkpoint(words: list[str], run: RunFolder) -> int:
    """Start a training, kill it as soon as there is a checkpoint, and return the step of that."""
    process = start_fit(CONFIG, words, run)
    while not run.last_checkpoint.is_file():
        if process.poll() is not None:
            raise TrainingError(f"the training in {run.path} ended before its first checkpoint; see {run.path}.log")
        time.sleep(0.01)
    process.kill()
    process.wait()
    return int(read_checkpoint(run.last_checkpoint)["global_step"])


def distance(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """Return the norm of the difference of two sets of weights over the norm of the first."""
    names = [name for name, value in left.items() if value.is_floating_point()]
    difference = sum(float((left[name].double() - right[name].double()).square().sum()) for name in names)
    return math.sqrt(difference / sum(float(left[name].double().square().sum()) for name in names))
