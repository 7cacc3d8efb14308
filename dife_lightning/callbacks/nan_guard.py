"""Stop a run whose loss is NaN or infinite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from dife_lightning.errors import TrainingError
from dife_lightning.utils.distributed import agree_on


class StopOnNaN(Callback):
    """Raise a :class:`TrainingError` naming the step at which the loss became NaN or infinite.

    On the CPU every step is checked at once. On an accelerator the first bad step is stored on the device and read
    every ``every_n_steps`` steps and before each validation, so that training does not wait for the device.

    Args:
        every_n_steps: steps between two checks on an accelerator.
    """

    def __init__(self, every_n_steps: int = 20) -> None:
        self.every_n_steps = every_n_steps
        self._first_bad: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the state of an earlier run."""
        self._first_bad = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Store the first step with a bad loss."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return
        step = torch.full((), trainer.global_step, dtype=torch.long, device=loss.device)
        unset = torch.full_like(step, -1)
        before = unset if self._first_bad is None else self._first_bad
        good = torch.isfinite(loss.detach()).all()
        self._first_bad = torch.where((before < 0) & ~good, step, before)
        if loss.device.type == "cpu" or (batch_idx + 1) % self.every_n_steps == 0:
            self._raise_if_bad()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before a validation and the checkpoint that follows it."""
        self._raise_if_bad()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before the last checkpoint."""
        self._raise_if_bad()

    def _raise_if_bad(self) -> None:
        if self._first_bad is None:
            return
        # all processes must stop, or the others would wait forever
        step = agree_on(int(self._first_bad), self._first_bad.device)
        if step < 0:
            return
        raise TrainingError(
            f"the loss is not finite at step {step}; the last good checkpoint is kept. "
            "Lower the learning rate, set trainer.gradient_clip_val to 1, or use precision 32-true."
        )
