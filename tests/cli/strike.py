"""Callbacks that do harm: a signal in the middle of a step, weights that are no numbers in one process."""

from __future__ import annotations

import os
from typing import Any

import lightning as L


class Strike(L.Callback):
    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


class Poison(L.Callback):
    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            for parameter in pl_module.parameters():
                parameter.data.fill_(float("nan"))
