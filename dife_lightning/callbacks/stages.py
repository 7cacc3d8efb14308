"""Callbacks of the two-stage schedule: time per stage, a checkpoint between the stages, early stopping in the second.

They read the method's ``stage``. For a method without stages, the timer counts the whole training as one, and the
others do nothing.
"""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from dife_lightning.callbacks.keep_last import validation_is_due
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import RunFolder


def stage_of(module: LightningModule) -> str | None:
    """Return the current stage of a method; None for methods without stages."""
    return getattr(module, "stage", None)


#: Name of the only stage of a method without stages.
WHOLE = "training"


class StageTimer(Callback):
    """Measure the training time of each stage, without validations, and write ``stages.json`` into the run's folder.

    The time of a step starts at the end of the previous step, so it includes the synthesis of its batch, and in the
    matching stage that of pseudo-pairs. Steps are the trainer's, which counts each optimiser's.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self._mark = 0.0
        self._first = 0
        self._stage = WHOLE

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._mark = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Store the stage of this step; at its end the method may already be in the next one."""
        self._stage = stage_of(pl_module) or WHOLE
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the time of the step to its stage."""
        now = time.perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._mark
        self.steps[self._stage] = self.steps.get(self._stage, 0) + trainer.global_step - self._first
        self._mark = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock after a validation, whose time does not count."""
        self._mark = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the times."""
        if self.steps and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            content = {s: {"steps": n, "seconds": round(self.seconds[s], 3)} for s, n in self.steps.items()}
            write_json(RunFolder.at(trainer.default_root_dir).stage_times, content)

    def state_dict(self) -> dict[str, Any]:
        """Save the times in the checkpoint."""
        return {"seconds": dict(self.seconds), "steps": dict(self.steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the times from a checkpoint."""
        self.seconds, self.steps = dict(state_dict["seconds"]), dict(state_dict["steps"])


class StageCheckpoint(Callback):
    """Save ``checkpoints/warmup.ckpt`` when the warm-up has ended, so that controls can start from the same point."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after the last warm-up step, unless a validation follows it."""
        if not validation_is_due(trainer):
            self._save_once(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after the validation that ends the warm-up."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save_once(trainer, pl_module)

    def _save_once(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = RunFolder.at(trainer.default_root_dir).warmup_checkpoint
        first = trainer.global_step == getattr(pl_module, "warmup_steps", None)
        if first and trainer.global_step and not trainer.strategy.broadcast(path.exists()):
            trainer.save_checkpoint(path, weights_only=False)


class StagedEarlyStopping(EarlyStopping):
    """Early stopping whose counter starts with the matching stage.

    Args:
        monitor: the logged value.
        patience: validations without a gain.
        min_delta: what counts as a gain.
        mode: ``min`` or ``max``.
    """

    def __init__(
        self, monitor: str = "val/pixel_error", patience: int = 30, min_delta: float = 0.0, mode: str = "min"
    ) -> None:
        super().__init__(monitor=monitor, patience=patience, min_delta=min_delta, mode=mode)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count only in the matching stage."""
        if stage_of(pl_module) != "warmup":
            super().on_validation_end(trainer, pl_module)
