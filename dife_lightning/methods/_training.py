"""What methods share that learn by gradient descent: numbered draws, exact checkpoints, Adam and its schedule.

With ``accumulate_grad_batches`` of k, k small batches are to equal one large one. So the random numbers of a batch are
a function of :attr:`TrainedModule.draw`, which counts batches, not optimiser steps; without accumulation both are the
same number. A checkpoint written between two optimiser steps holds the gradients that have been accumulated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.methods._base import EmbedderModule, MatcherModule
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.pretrained.encoders import EncoderOptions
from dife_lightning.pretrained.imagenet import load_imagenet
from dife_lightning.utils.accumulation import batches_accumulated
from dife_lightning.utils.checks import as_options
from dife_lightning.utils.distributed import gather_objects


class TrainedModule(MatcherModule):
    """Base of methods that Lightning optimises, with one optimiser."""

    #: Gradients of a checkpoint that was written between two optimiser steps, until training starts.
    _accumulated: dict[str, Tensor] = {}  # noqa: RUF012 - replaced, never changed

    @property
    def micro_batch(self) -> int:
        """Number of the current batch within its optimiser step, from 0; always 0 without accumulation."""
        return 0 if self._trainer is None else self._trainer.fit_loop.batch_idx % self._trainer.accumulate_grad_batches

    @property
    def draw(self) -> int:
        """Number of the current batch, from 0: what its random numbers depend on, with the seed and the rank."""
        several = 1 if self._trainer is None else self._trainer.accumulate_grad_batches
        return self.global_step * several + self.micro_batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep each process's gradients if an optimiser step is due for them."""
        super().on_save_checkpoint(checkpoint)
        if self._trainer is not None and batches_accumulated(self._trainer):
            gradients = {n: p.grad.cpu() for n, p in self.named_parameters() if p.grad is not None}
            checkpoint["accumulated_gradients"] = gather_objects(gradients)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this process's gradients; they are put in place when training starts."""
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint.get("accumulated_gradients") or [{}]
        self._accumulated = {} if self._trainer is None else stored[self.global_rank % len(stored)]

    def on_train_start(self) -> None:
        """Go on with the accumulated gradients of a checkpoint."""
        for name, gradient in self._accumulated.items():
            parameter = self.get_parameter(name)
            parameter.grad = gradient.to(parameter)
        self._accumulated = {}


class ScheduledModule(TrainedModule):
    """Base of methods with Adam and a schedule: a plateau counts validations, the others count steps."""

    optimizer_options: OptimizerOptions

    def plateau_counts(self) -> bool:
        """Return whether a validation at this step counts for a plateau."""
        return self.global_step >= self.optimizer_options.rise

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let the rate rise where a plateau is the schedule, which does not know steps."""
        options = self.optimizer_options
        if options.schedule == "plateau" and self.global_step < options.rise:
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = options.lr * rate_factor(self.global_step, options, 0, 0)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step schedules that count steps; a plateau is stepped after validations instead."""
        if not isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step()

    def on_validation_end(self) -> None:
        """Tell a plateau the validation error; other schedules and a missing error change nothing."""
        if self.trainer.sanity_checking or not self.plateau_counts():
            return
        scheduler, error = self.lr_schedulers(), self.trainer.callback_metrics.get(self.monitor)
        if error is not None and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(error)


class EncoderModule(ScheduledModule, EmbedderModule):
    """Base of methods that train an encoder and embed with it."""

    encoder: HourglassEncoder | PyramidEncoder
    encoder_options: EncoderOptions
    unit_length: bool

    def build_encoder(self, options: Any, dim: int, **form: Any) -> None:
        """Set ``encoder`` to an untrained one; ``form`` is that of ``EncoderOptions.build``."""
        self.encoder_options = as_options(EncoderOptions, options)
        self.encoder = self.encoder_options.build(dim, **form)

    def setup(self, stage: str) -> None:
        """Load the weights of a pretrained encoder for a fit; AssetError if their package is not installed."""
        if stage == "fit" and isinstance(self.encoder, PyramidEncoder) and self.encoder_options.backbone is not None:
            self.encoder.network.load_state_dict(load_imagenet(self.encoder_options.backbone)[0].state_dict())

    def embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to the embedding, float32, one vector per pixel.

        Returns:
            (B, dim, H, W); (B, dim, H / 2, W / 2) for an encoder that halves the side (DVE).
        """
        embedding = self.encoder(channels_last(images)).float()
        return F.normalize(embedding, dim=1) if self.unit_length else embedding

    def configure_optimizers(self) -> Any:
        """Adam over the encoder, with the chosen schedule."""
        return make_optimizer(self.parameter_groups(), self.optimizer_options, 0, self.trainer.max_steps)

    def parameter_groups(self, *more: nn.Module) -> list[dict[str, Any]]:
        """Return Adam's groups: the encoder with ``more``, and a pretrained network, which has its own rate."""
        parameters = [p for module in (self.encoder, *more) for p in module.parameters()]
        if isinstance(self.encoder, HourglassEncoder):
            return [{"params": parameters}]
        pretrained = list(self.encoder.network.parameters())
        known = set(map(id, pretrained))
        rate = self.optimizer_options.lr * self.encoder_options.backbone_rate
        return [{"params": [p for p in parameters if id(p) not in known]}, {"params": pretrained, "lr": rate}]


def rate_factor(step: int, options: OptimizerOptions, warmup_steps: int, max_steps: int) -> float:
    """Return the share of ``lr`` at a step: it rises, is constant until the warm-up ends, then follows the schedule."""
    factor = min(1.0, (step + 1) / options.rise) if options.rise else 1.0
    if options.schedule != "cosine" or step < warmup_steps or max_steps <= warmup_steps:
        return factor
    progress = min(1.0, (step - warmup_steps) / (max_steps - warmup_steps))
    return factor * (options.final + (1 - options.final) * (1 + math.cos(math.pi * progress)) / 2)


def make_optimizer(
    groups: list[dict[str, Any]], options: OptimizerOptions, warmup_steps: int, max_steps: int
) -> dict[str, Any]:
    """Return Adam over parameter groups and its schedule, in the form that Lightning expects."""
    fused = fused_on_cpu(p for group in groups for p in group["params"])
    adam = torch.optim.Adam(groups, lr=options.lr, betas=options.betas, fused=fused)
    if options.schedule == "plateau":
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, "min", options.factor, options.patience)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": plateau, "monitor": "train/loss", "strict": False}}
    return with_step_schedule(adam, lambda step: rate_factor(step, options, warmup_steps, max_steps))


def fused_on_cpu(parameters: Iterable[nn.Parameter]) -> bool | None:
    """Return the ``fused`` argument of Adam: on a CPU one fused kernel is several times faster.

    On a GPU it would rule out gradient clipping with float16.
    """
    return all(parameter.device.type == "cpu" for parameter in parameters) or None


def with_step_schedule(optimizer: torch.optim.Optimizer, factor: Any) -> dict[str, Any]:
    """Return an optimiser whose rates are multiplied by ``factor(step)``, in the form that Lightning expects."""
    timed = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": timed, "interval": "step"}}
