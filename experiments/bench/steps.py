"""Whole training steps of the benchmark, and the share of their time that is spent outside the networks."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from dife_lightning.data.stream import StyleGAN2Stream
from dife_lightning.methods.dife import DIFE
from dife_lightning.running.configs import load_config
from dife_lightning.running.quiet import quiet
from experiments.bench.timing import Conditions, Timing, timing
from experiments.common.untrained import warnings_only

CONFIG = "world/human_dog"
#: Training steps before the clock counts.
UNTIMED_STEPS = 3


class Regions:
    """Seconds spent inside networks and in their backward passes.

    The forward pass of a network lies between its forward hooks. Its backward pass lies between the gradient node of
    its output and that of its first convolution: autograd runs nodes in the reverse order of their creation, so nothing
    else runs in between. Updates and additions of gradients are outside.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.clock = conditions.clock
        self.seconds: dict[str, float] = defaultdict(float)
        self._starts: list[float] = []
        self._hooks: list[Any] = []

    def enter(self) -> None:
        """Start a region."""
        self._starts.append(self.clock())

    def leave(self, name: str) -> None:
        """End the region that was started last; a region inside another one is not counted."""
        start = self._starts.pop()
        if not self._starts:
            self.seconds[name] += self.clock() - start

    def watch(self, name: str, network: nn.Module, first: nn.Module | None = None) -> None:
        """Time the forward pass of ``network``, and its backward pass if its ``first`` convolution is given."""

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            self.leave(name)
            if first is not None and output.grad_fn is not None:
                output.grad_fn.register_prehook(lambda grads: self.enter())

        def after_first(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.grad_fn is not None:
                output.grad_fn.register_hook(lambda *grads: self.leave(f"{name} backward"))

        self._hooks.append(network.register_forward_pre_hook(lambda module, inputs: self.enter()))
        self._hooks.append(network.register_forward_hook(after))
        if first is not None:
            self._hooks.append(first.register_forward_hook(after_first))

    def watch_method(self, method: DIFE) -> None:
        """Time the encoder, the converters, the generators and the teacher of ``method``."""
        self.watch("encoder", method.encoder, next(m for m in method.encoder.modules() if isinstance(m, nn.Conv2d)))
        for converter in method.converters.values():
            self.watch("converters", converter, converter.get_submodule("layer1"))
        for generator in method.generators.values():
            self.watch("generators", generator.network.mapping)
            self.watch("generators", generator.network.synthesis)
        if method.teacher is not None:
            self.watch("teacher", method.teacher.module)

    def take(self) -> dict[str, float]:
        """Return the seconds so far and reset them."""
        taken = dict(self.seconds)
        self.seconds.clear()
        return taken

    def remove(self) -> None:
        """Remove the hooks; generators and teacher are shared within the process."""
        for hook in self._hooks:
            hook.remove()


class StepWatch(L.Callback):
    """Times training steps, from the end of one to the end of the next, and the part of them inside networks."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions, self.regions = conditions, Regions(conditions)
        self.steps: list[tuple[float, dict[str, float]]] = []
        self._start = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the hooks and start the clock."""
        assert isinstance(pl_module, DIFE)
        self.regions.watch_method(pl_module)
        self._start = self.conditions.clock()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *unused: Any) -> None:
        """Record a step; end the training after the seconds of the conditions."""
        now, inside = self.conditions.clock(), self.regions.take()
        if trainer.global_step > UNTIMED_STEPS:
            self.steps.append((now - self._start, inside))
            trainer.should_stop = sum(seconds for seconds, _ in self.steps) >= self.conditions.seconds
        self._start = self.conditions.clock()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remove the hooks, also after an error."""
        self.regions.remove()


def step_case(conditions: Conditions, stage: str) -> list[Timing]:
    """Time training steps of DIFE for human + dog, including stream synthesis and Lightning's own work.

    Pseudo-pairs are made before the clock counts. The gradients' shares, logged every 50 steps, are not measured.
    """
    model, stream = _step_arguments(conditions, stage)
    watch = StepWatch(conditions)
    with torch.random.fork_rng(devices=[]), quiet(), warnings_only():
        torch.manual_seed(0)
        trainer = L.Trainer(
            accelerator="gpu" if conditions.device.type == "cuda" else "cpu", devices=1, precision=conditions.precision,  # type: ignore[arg-type]
            max_steps=UNTIMED_STEPS + conditions.repeats, max_epochs=-1, logger=False, limit_val_batches=0,
            num_sanity_val_steps=0, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
        )  # fmt: skip
        trainer.fit(DIFE(**model), StyleGAN2Stream(**stream))
    median, steps = statistics.median, watch.steps
    more: dict[str, Any] = {"outside_share": median(1 - sum(inside.values()) / seconds for seconds, inside in steps)}
    more["parts"] = {name: median(inside.get(name, 0.0) for _, inside in steps) for name in steps[0][1]}
    seconds = median(seconds for seconds, _ in steps)
    return [timing(f"step-{stage}", conditions, seconds, len(steps), 1, "steps/s", **more)]


def _step_arguments(conditions: Conditions, stage: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of method and stream: those of the shipped configuration, with a quick set-up."""
    content = load_config(CONFIG)
    model, stream = (dict(content[key]["init_args"]) for key in ("model", "data"))
    stream |= {key: model[key] for key in ("generators", "layer", "size")}  # as `dife fit` takes them from the method
    stream["evaluation"] = None
    model |= {"warmup_steps": 0 if stage == "matching" else 10**9, "share_every": 0}
    model["distillation"] = model["distillation"] | {"statistics_samples": 8}
    model["exploration"] = model["exploration"] | {"steps": 1}  # the pairs' content does not matter here
    model["pairs"] = model["pairs"] | {"refresh_every": 10**9, "first": 2 if conditions.small else 8}
    if conditions.small:
        stream["batch_size"] = 2
        model["pairs"] |= {"batch_size": 4}
    return model, stream
