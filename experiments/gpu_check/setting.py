"""Where and how large the checks run, and the `dife` commands that they share."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dife_lightning.utils.run_folder import RunFolder
from experiments.bench.timing import FP32
from experiments.common import commands
from experiments.common.jobs import fit_words, place_words

BF16, FP16 = "bf16-mixed", "16-mixed"
#: The first steps of a stage set kernels up and are not timed.
UNTIMED = 5


@dataclass(frozen=True)
class Setting:
    """Where and how large the checks run.

    Attributes:
        work: folder of runs and other files.
        small: tiny sizes, to see on a CPU that everything runs.
    """

    work: Path
    small: bool

    @property
    def device(self) -> torch.device:
        """The first GPU, or the CPU."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def precisions(self) -> list[str]:
        """The precisions that the device has, fp32 first. A CPU has no gradient scaler, an older GPU no bfloat16."""
        if self.device.type == "cpu":
            return [FP32, BF16]
        return [FP32, *([BF16] if torch.cuda.is_bf16_supported(including_emulation=False) else []), FP16]

    def run(self, name: str) -> RunFolder:
        """Return the folder of one of the runs."""
        return RunFolder(self.work, name)

    def trainer_words(self, precision: str) -> list[str]:
        """Return the options of the trainer: one device, in a precision, without a progress bar."""
        accelerator = "gpu" if self.device.type == "cuda" else "cpu"
        options = {"accelerator": accelerator, "devices": 1, "precision": precision, "enable_progress_bar": "false"}
        return [f"--trainer.{name}={value}" for name, value in options.items()]

    def timed_fit(
        self, config: str, run: RunFolder, words: Sequence[str], warmup: int, period: int | None = None
    ) -> dict[str, Any]:
        """Train, and return the milliseconds of a step of each stage, and the peak memory in bytes.

        Args:
            config: name or file of the configuration.
            run: folder of the run.
            words: further options.
            warmup: steps of the first stage.
            period: see :func:`stage_times`.
        """
        clock = run.path / "steps.json"
        callback = ["--trainer.callbacks+=StepClock", f"--trainer.callbacks.path={clock}"]
        seconds = commands.call([*fit_words(config, 0, [*words, *callback]), *place_words(run)])
        found = json.loads(clock.read_text(encoding="utf-8"))
        timed = stage_times(found["seconds"], warmup, period)
        return {**timed, "training_seconds": sum(found["seconds"]), "seconds": seconds, "memory": found["memory"]}


def stage_times(steps: Sequence[float], warmup: int, period: int | None = None) -> dict[str, float]:
    """Return the milliseconds of a typical step of each stage, of seconds per step.

    Args:
        steps: seconds of all steps.
        warmup: number of steps of the first stage.
        period: steps of the matching stage between two syntheses of pairs. If given, there is also ``with_pairs_ms``:
            the mean of the last so many steps, one of which makes pairs.
    """
    timed = {"warmup_ms": 1000 * typical(steps[:warmup]), "matching_ms": 1000 * typical(steps[warmup:])}
    return timed if period is None else {**timed, "with_pairs_ms": 1000 * statistics.mean(steps[-period:])}


def typical(steps: Sequence[float]) -> float:
    """Return the median of the steps after the first few."""
    return statistics.median(steps[UNTIMED:] or steps)
