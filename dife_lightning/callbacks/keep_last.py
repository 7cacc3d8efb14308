"""Writes ``last.ckpt`` between validations, and before a training stops on a signal."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from dife_lightning.callbacks.best_and_last import BestAndLast
from dife_lightning.errors import Interrupted
from dife_lightning.utils.distributed import agree_on

_NOTHING, _SAVE = 0, 1
#: Signals that end a run after its checkpoint is written; if processes got different ones, the larger number wins.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class KeepLast(Callback):
    """Write ``last.ckpt`` every few minutes, and on SIGTERM or Ctrl-C before the run stops.

    After a signal the run completes its step (and the validation that is due after it), writes the checkpoint and
    stops, so that a resumed training gives the same result. A second signal stops the run at once. Several processes
    stop at the same step.

    Args:
        every_minutes: wall-clock time between two checkpoints; validations write one as well.
    """

    def __init__(self, every_minutes: float = 10.0) -> None:
        self.every_minutes = every_minutes
        self._received = _NOTHING
        self._stop = _NOTHING
        self._handlers: dict[signal.Signals, Any] = {}
        self._due = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers, which only the main thread can do."""
        self._received = self._stop = _NOTHING
        self._set_due()
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._receive) for number in _SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time or a signal came, unless a validation is due, which saves as well."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        wish = self._received or (_SAVE if time.monotonic() > self._due else _NOTHING)
        agreed = agree_on(wish, pl_module.device)
        if agreed == _NOTHING:
            return
        keeper = trainer.checkpoint_callback
        if isinstance(keeper, BestAndLast) and not validation_is_due(trainer):
            keeper.write_last(trainer)
        self._set_due()
        self._stop = agreed if agreed != _SAVE else _NOTHING

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop if a signal came; by now the loggers have the step that was saved.

        Raises:
            Interrupted: a signal came.
        """
        keeper = trainer.checkpoint_callback
        if isinstance(keeper, BestAndLast) and keeper.last_step == trainer.global_step and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
        if self._stop:
            raise Interrupted(_farewell(trainer, signal.Signals(self._stop)), self._stop)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the earlier signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _set_due(self) -> None:
        self._due = time.monotonic() + 60 * self.every_minutes

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            raise KeyboardInterrupt
        self._received = number


def validation_is_due(trainer: Trainer) -> bool:
    """Return whether Lightning will validate after the batch that just ended."""
    loop = trainer.fit_loop
    fetcher = loop._data_fetcher
    return fetcher is not None and trainer.enable_validation and loop.epoch_loop._should_check_val_fx(fetcher)


def _farewell(trainer: Trainer, number: signal.Signals) -> str:
    keeper = trainer.checkpoint_callback
    if not isinstance(keeper, BestAndLast) or keeper.last_step != trainer.global_step:
        return f"stopped by {number.name} at step {trainer.global_step}; no checkpoint was written"
    return (
        f"stopped by {number.name} at step {trainer.global_step}, whose checkpoint is written; resume with "
        f"`dife fit --ckpt_path {keeper.last_model_path}`"
    )
