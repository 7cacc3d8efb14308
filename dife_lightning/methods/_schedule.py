"""Optimiser and learning-rate schedule of the methods that train an encoder with Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from dife_lightning.methods._base import MatcherModule
from dife_lightning.methods._dife.options import OptimizerOptions


def rate_factor(step: int, options: OptimizerOptions, warmup_steps: int, max_steps: int) -> float:
    """Return the share of ``lr`` at a step: a rise, then level until the warm-up ends, then the schedule."""
    factor = min(1.0, (step + 1) / options.rise) if options.rise else 1.0
    if options.schedule != "cosine" or step < warmup_steps or max_steps <= warmup_steps:
        return factor
    progress = min(1.0, (step - warmup_steps) / (max_steps - warmup_steps))
    return factor * (options.final + (1 - options.final) * (1 + math.cos(math.pi * progress)) / 2)


def make_optimizer(
    parameters: Iterable[nn.Parameter], options: OptimizerOptions, warmup_steps: int, max_steps: int
) -> dict[str, Any]:
    """Return Adam and its schedule in the form that Lightning wants."""
    several = list(parameters)
    # On a CPU one fused kernel is several times faster; on a GPU it would rule out clipping with float16.
    fused = all(parameter.device.type == "cpu" for parameter in several)
    adam = torch.optim.Adam(several, lr=options.lr, betas=options.betas, fused=fused or None)
    if options.schedule == "plateau":
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, "min", options.factor, options.patience)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": plateau, "monitor": "train/loss", "strict": False}}
    timed = torch.optim.lr_scheduler.LambdaLR(adam, lambda s: rate_factor(s, options, warmup_steps, max_steps))
    return {"optimizer": adam, "lr_scheduler": {"scheduler": timed, "interval": "step"}}


class ScheduledModule(MatcherModule):
    """Base of methods with such a schedule: a plateau counts validations, the others go by time."""

    def plateau_counts(self) -> bool:
        """Return whether a validation at this step counts for a plateau."""
        return True

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step schedules of time; a plateau is stepped after validations instead."""
        if not isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step()

    def on_validation_end(self) -> None:
        """Tell a plateau schedule the validation error; other schedules and a missing error are left alone."""
        if self.trainer.sanity_checking or not self.plateau_counts():
            return
        scheduler, error = self.lr_schedulers(), self.trainer.callback_metrics.get(self.monitor)
        if error is not None and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(error)
