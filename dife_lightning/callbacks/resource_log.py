"""Logs memory and open files of the training process, to find leaks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from dife_lightning.callbacks.step_clock import peak_memory

_PROC = Path("/proc/self")


class ResourceLog(Callback):
    """Log ``system/memory_mb`` and ``system/open_files`` every few steps.

    Without ``/proc`` (macOS, Windows) the memory is the peak so far, and files are not counted.

    Args:
        every_n_steps: steps between two measurements.
    """

    def __init__(self, every_n_steps: int = 20) -> None:
        self.every_n_steps = every_n_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure and log."""
        if trainer.is_global_zero and (batch_idx + 1) % self.every_n_steps == 0:
            values = {"system/memory_mb": resident_memory() / 1e6, "system/open_files": float(open_files())}
            for logger in trainer.loggers:
                logger.log_metrics(values, batch_idx)


def resident_memory() -> int:
    """Return the current memory of this process in bytes."""
    status = _PROC / "statm"
    if status.is_file():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import torch

    return peak_memory(torch.device("cpu"))


def open_files() -> int:
    """Return the number of open files, sockets and pipes of this process; 0 if the system does not tell."""
    folder = _PROC / "fd"
    return len(list(folder.iterdir())) if folder.is_dir() else 0
