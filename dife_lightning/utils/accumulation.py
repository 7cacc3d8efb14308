"""Gradient accumulation: where a training stands between two optimiser steps."""

from __future__ import annotations

from typing import Any


def batches_accumulated(trainer: Any) -> int:
    """Return the batches whose gradients wait for the next optimiser step; 0 without accumulation.

    It is right at every place where Lightning writes a checkpoint, and after one was restored.
    """
    if trainer.accumulate_grad_batches == 1:
        return 0
    loop = trainer.fit_loop.epoch_loop
    # the last batch of an epoch always steps
    over = loop.batch_progress.is_last_batch
    return 0 if over else loop.batch_progress.current.processed % trainer.accumulate_grad_batches
