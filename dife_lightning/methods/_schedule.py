"""Optimiser and learning-rate schedule of the two-stage methods."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.methods._dife_options import OptimizerOptions


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


def step_plateau(scheduler: Any, metric: Tensor | None) -> None:
    """Give a plateau schedule one validation's error; other schedules and missing metrics are left alone."""
    if metric is not None and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(metric)
