"""Measures the time of training steps and the memory, for an estimate before a long run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from dife_lightning.utils.files import write_json


class StepClock(Callback):
    """Write the seconds of every step and the peak memory to a JSON file when training ends.

    Args:
        path: ``{"seconds": [...], "memory": bytes}``; memory is the device's on a GPU, else the process's.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.seconds: list[float] = []
        self._mark = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the seconds of a step, including the synthesis of its batch."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self._mark)
        self._mark = now

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        if trainer.is_global_zero:
            content = {"seconds": self.seconds, "memory": peak_memory(pl_module.device)}
            write_json(Path(self.path), content)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the GPU, or of this process; 0 if the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
