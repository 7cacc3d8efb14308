"""Check that trainings work on this machine's GPU and how fast they are: ``python -m experiments.gpu_check``.

Trains human and dog of the embedded world in each precision, takes a step of the paper's size beside the estimate of
`dife doctor` and beside the public code's composition, times generators and latent exploration, and kills and resumes a
training. This takes up to 8 minutes on an idle GPU. Writes ``gpu_check.json`` and a table for the README,
``gpu_check.md``. The exit code is 1 if a check fails. Without a GPU, ``--small`` shows on a CPU that everything runs;
the numbers then mean nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError
from dife_lightning.utils.environment import collect_environment, processor_name
from dife_lightning.utils.files import atomic_write, write_json
from experiments.common.commands import guarded, heading


def main(words: Sequence[str] | None = None) -> int:
    """Run all checks, print and write; returns the exit code."""
    options = parse(words)
    return guarded(lambda: check(options), "run the same command to start again")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/gpu_check"), help="folder of the runs (%(default)s)")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to check that everything runs")
    return parser.parse_args(words)


def check(options: argparse.Namespace) -> int:
    """Run all checks; returns 1 if one failed.

    Raises:
        ConfigError: there is no GPU, and the sizes are not small.
    """
    from experiments.gpu_check.report import MINUTES, markdown, verdicts
    from experiments.gpu_check.setting import Setting

    setting = Setting(options.work, options.small)
    if setting.device.type == "cpu" and not setting.small:
        raise ConfigError("there is no GPU here; add --small to see on the CPU that everything runs")
    start = time.perf_counter()
    results = {**measure(setting), **collect_environment(), "small": setting.small}
    results["minutes"] = (time.perf_counter() - start) / 60
    goals = verdicts(results)
    results["verdicts"] = {goal.text: goal.met for goal in goals}
    write_json(options.out / "gpu_check.json", results)
    table = markdown(results)
    with atomic_write(options.out / "gpu_check.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    print(f"\n{table}\n{results['minutes']:.1f} minutes (goal: {MINUTES}); {options.out}/gpu_check.json, gpu_check.md")
    return int(not all(goal.met for goal in goals) and not setting.small)


def measure(setting: Any) -> dict[str, Any]:
    """Return the results of all checks."""
    import torch

    from experiments.gpu_check.fits import fit_in, resume
    from experiments.gpu_check.speeds import paper_step, throughput

    name = torch.cuda.get_device_name() if setting.device.type == "cuda" else processor_name()
    half = setting.precisions[1]  # bfloat16 where there is, as in trainer/gpu_bf16
    heading(1, "Generators and exploration")
    speeds = {precision: throughput(setting, precision) for precision in setting.precisions}
    heading(2, "Short fits")
    fits = {precision: fit_in(setting, precision) for precision in setting.precisions}
    heading(3, "A step of the paper's size")
    paper = paper_step(setting, half)
    heading(4, "A training that is killed and resumed")
    return {"device": name, "fits": fits, "paper_step": paper, "throughput": speeds, "resume": resume(setting)}


if __name__ == "__main__":
    raise SystemExit(main())
