"""Whole training steps of the benchmark, and the share of their time that is spent outside networks."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from dife_lightning.data.stream import StyleGAN2Stream
from dife_lightning.methods.dife import DIFE
from dife_lightning.running.configs import load_config
from dife_lightning.running.quiet import quiet
from experiments.bench.timing import CONFIG, UNTIMED_STEPS, Conditions, Timing, timing
from experiments.common.untrained import warnings_only


@dataclass
class Regions:
    """Seconds spent inside networks, by network, and in their backward passes.

    A network's forward pass lies between its forward hooks. Its backward pass lies between the gradient node of its
    output and that of its first convolution: autograd runs nodes in the reverse order of their making, so that nothing
    else runs between the two. What updates or adds up gradients is not inside.
    """

    conditions: Conditions
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _open: list[tuple[str, float]] = field(default_factory=list)
    _handles: list[Any] = field(default_factory=list)

    def enter(self, name: str) -> None:
        """A region begins."""
        self._open.append((name, self.conditions.clock()))

    def leave(self, name: str) -> None:
        """It ends; one inside another counts for the outer one alone."""
        opened, start = self._open.pop()
        assert opened == name, f"region {name} ends inside {opened}"
        if not self._open:
            self.seconds[name] += self.conditions.clock() - start

    def watch(self, name: str, network: nn.Module, first: nn.Module | None = None) -> None:
        """Time ``network``; with ``first``, its first convolution, the backward pass too."""
        backward = f"{name} backward"

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            self.leave(name)
            if first is not None and output.grad_fn is not None:
                output.grad_fn.register_prehook(lambda grads: self.enter(backward))

        def after_first(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.grad_fn is not None:
                output.grad_fn.register_hook(lambda *grads: self.leave(backward))

        self._handles.append(network.register_forward_pre_hook(lambda module, inputs: self.enter(name)))
        self._handles.append(network.register_forward_hook(after))
        if first is not None:
            self._handles.append(first.register_forward_hook(after_first))

    def watch_method(self, method: DIFE) -> None:
        """Time the encoder, the converters, the generators and the teacher of ``method``."""
        self.watch("encoder", method.encoder, method.encoder.conv1)
        for converter in method.converters.values():
            self.watch("converters", converter, converter.get_submodule("layer1"))
        for generator in method.generators.values():
            self.watch("generators", generator.network.mapping)
            self.watch("generators", generator.network.synthesis)
        if method.teacher is not None:
            self.watch("teacher", method.teacher.module)

    def take(self) -> dict[str, float]:
        """Return the seconds so far and reset them."""
        assert not self._open, f"region {self._open[-1][0]} has no end"
        taken = dict(self.seconds)
        self.seconds.clear()
        return taken

    def remove(self) -> None:
        """Remove the hooks: generators and teacher are shared within the process."""
        for handle in self._handles:
            handle.remove()


class StepWatch(L.Callback):
    """Times whole training steps, from the end of one to the end of the next, and what of it is inside networks."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions, self.regions = conditions, Regions(conditions)
        self.steps: list[tuple[float, dict[str, float]]] = []
        self._mark = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the hooks on and start the clock."""
        assert isinstance(pl_module, DIFE)
        self.regions.watch_method(pl_module)
        self._mark = self.conditions.clock()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *unused: Any) -> None:
        """Record a step; end the training when the time is used up."""
        now, inside = self.conditions.clock(), self.regions.take()
        if trainer.global_step > UNTIMED_STEPS:
            self.steps.append((now - self._mark, inside))
            trainer.should_stop = sum(seconds for seconds, _ in self.steps) >= self.conditions.seconds
        self._mark = self.conditions.clock()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remove the hooks, also after an error."""
        self.regions.remove()


def step_case(conditions: Conditions, stage: str) -> list[Timing]:
    """Time training steps of DIFE for human + dog, stream synthesis and Lightning's own work included.

    Pseudo-pairs are made before the clock counts, and the gradient's shares (logged every 50 steps) are not measured.
    """
    arguments, stream = _step_arguments(conditions, stage)
    watch = StepWatch(conditions)
    with torch.random.fork_rng(devices=[]), quiet(), warnings_only():
        torch.manual_seed(0)
        trainer = L.Trainer(
            accelerator="gpu" if conditions.device.type == "cuda" else "cpu", devices=1, precision=conditions.precision,  # type: ignore[arg-type]
            max_steps=UNTIMED_STEPS + conditions.repeats, max_epochs=-1, logger=False, limit_val_batches=0,
            num_sanity_val_steps=0, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
        )  # fmt: skip
        trainer.fit(DIFE(**arguments), StyleGAN2Stream(**stream))
    seconds = statistics.median(seconds for seconds, _ in watch.steps)
    outside = statistics.median(1 - sum(inside.values()) / seconds for seconds, inside in watch.steps)
    parts = {name: statistics.median(inside.get(name, 0.0) for _, inside in watch.steps) for name in watch.steps[0][1]}
    count = len(watch.steps)
    return [timing(f"step-{stage}", conditions, seconds, count, 1, what="steps/s", outside_share=outside, parts=parts)]


def _step_arguments(conditions: Conditions, stage: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of method and stream: the shipped configuration's, with a quick set-up."""
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
