"""What ``python -m experiments.bench`` measures: each case is a function from a :class:`Setting` to its records."""

from __future__ import annotations

import functools
import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from dife_lightning.cli.configs import find_config
from dife_lightning.cli.quiet import quiet
from dife_lightning.data.stream import StyleGAN2Stream
from dife_lightning.exploration import ExplorationOptions, explore
from dife_lightning.generators import Generator
from dife_lightning.geometry import channels_last
from dife_lightning.losses.matching import semantic_matching_loss
from dife_lightning.matching import transfer
from dife_lightning.methods.dife import DIFE
from dife_lightning.nn.converter import Converter
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.randomness import normal, uniform

FP32 = "32-true"
CONFIG = "world/human_dog"
#: Side of the generator -> tapped layer, in the paper's numbers.
TAPS = {64: 5, 128: 7, 256: 7}
#: Source cells that the chunked matching loss handles at a time.
CHUNK = 256
#: The plain matching loss is measured only where this times the memory that it needs is free (14.3 GiB at 96 px).
SPARE = 1.25
#: Bytes that are taken without asking.
ALWAYS_FREE = 2**28
#: Adam steps per call of the exploration.
EXPLORATION_STEPS = 4
#: Training steps before the clock counts.
UNTIMED_STEPS = 3
#: Seconds of the public reference code: fp32, 2 cores with AMX, nothing else running. They were measured at another
#: time, not beside ours.
REFERENCE = {
    "generator-64": 1.82,
    "generator-128": 3.24,
    "generator-256": 5.57,
    "exploration-256": 4.73,
    "encoder-forward": 1.47,
    "encoder-step": 6.31,
    "matching-48-plain": 0.79,
    "matching-48-chunked": 0.79,
    "evaluation": 0.058,
}


@dataclass(frozen=True)
class Setting:
    """How a case is measured.

    Attributes:
        device: where.
        precision: Lightning's name of it.
        small: tiny sizes, to see that everything runs.
        repeats: calls that are timed, after one that is not.
        seconds: no further call is timed once those before took so long.
    """

    device: torch.device
    precision: str
    small: bool = False
    repeats: int = 5
    seconds: float = 5.0

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions compute in."""
        return {FP32: torch.float32, "16-mixed": torch.float16}.get(self.precision, torch.bfloat16)

    def autocast(self) -> torch.autocast | nullcontext[None]:
        """Return the context that a training in this precision has."""
        return nullcontext() if self.precision == FP32 else torch.autocast(self.device.type, dtype=self.dtype)

    def clock(self) -> float:
        """Return seconds; a GPU's queue is waited for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def normal(self, *shape: int) -> Tensor:
        """Return fixed standard normal numbers on the device."""
        return normal(shape, 0, "bench").to(self.device)


@dataclass
class Record:
    """One line of the results.

    Attributes:
        name: the case's, with a suffix where a case has several records.
        precision: Lightning's name of it.
        seconds: median of one call (generators: a batch of 4; exploration and training: a step).
        repeats: calls behind the median.
        what: unit of ``rate``.
        rate: how many a second.
        reference_seconds: of the public reference code, fp32.
        ratio: ``reference_seconds / seconds``.
        memory_bytes: most memory that tensors took beyond the inputs.
        estimated: scaled up from one pair, for want of memory.
        loss: value that was computed.
        outside_share: share of a training step that is spent outside networks.
        parts: seconds of a training step inside networks, by network.
    """

    name: str
    precision: str
    seconds: float
    repeats: int
    what: str | None = None
    rate: float | None = None
    reference_seconds: float | None = None
    ratio: float | None = None
    memory_bytes: int | None = None
    estimated: bool | None = None
    loss: float | None = None
    outside_share: float | None = None
    parts: dict[str, float] | None = None


def record(name: str, setting: Setting, seconds: float, repeats: int, count: int = 0, **more: Any) -> Record:
    """Return the record; with ``count`` (things per call) and ``what`` it has a rate, where it applies a reference."""
    reference = REFERENCE.get(name) if setting.device.type == "cpu" and not setting.small else None
    ratio = reference / seconds if reference else None
    rate = count / seconds if count else None
    return Record(
        name, setting.precision, seconds, repeats, rate=rate, reference_seconds=reference, ratio=ratio, **more
    )


def timed(call: Callable[[], object], setting: Setting, warm: bool = False) -> tuple[float, int]:
    """Return the median seconds of ``call`` and how many calls it is of; unless ``warm``, one before is not counted."""
    if not warm:
        call()
    times: list[float] = []
    while not times or (len(times) < setting.repeats and sum(times) < setting.seconds):
        start = setting.clock()
        call()
        times.append(setting.clock() - start)
    return statistics.median(times), len(times)


def peak_memory(call: Callable[[], object], device: torch.device) -> int:
    """Return the bytes that tensors took at most during ``call``, beyond those that were there before.

    On a CPU the profiler's record of each allocation and release is added up, which is exact and sees temporary
    tensors; what kernels take for themselves is not in it.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def available_memory(device: torch.device) -> int:
    """Return the bytes that can still be had; 0 where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if found and limit.is_file() and limit.read_text().strip().isdigit():
        found.append(int(limit.read_text()) - int(used.read_text()))
    return min(found, default=0)


# Networks


@functools.lru_cache(maxsize=1)
def random_generator(side: int, small: bool, device: torch.device) -> Generator:
    """Return a generator with random weights: config F, channel multiplier 2, which is 512 channels up to 64 px."""
    sides = [2**i for i in range(2, side.bit_length())]
    channels = tuple(8 if small else min(512, 2**15 // s) for s in sides)
    shape = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2} if small else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Generator(StyleGAN2Generator(Architecture(channels, **shape))).to(device)


def generator_case(setting: Setting, side: int, layer: int | None = None) -> list[Record]:
    """Time z to image, or with ``layer`` z to features, of a batch of 4 without a graph."""
    generator = random_generator(side, setting.small, setting.device)
    z = setting.normal(4, generator.z_dim)

    def call() -> None:
        w = generator.map(z)
        generator.image(w) if layer is None else generator.features(w, layer)

    with torch.no_grad(), setting.autocast():
        seconds, repeats = timed(call, setting)
    name, what = (f"generator-{side}", "images/s") if layer is None else (f"features-{side}", "maps/s")
    return [record(name, setting, seconds, repeats, len(z), what=what)]


def exploration_case(setting: Setting) -> list[Record]:
    """Time a step of latent exploration of one w at 256 px: up to the tap, its gradient in w, Adam.

    The forward pass after the last step is counted too, so that the figure is a little too large.
    """
    generator, layer, steps = random_generator(256, setting.small, setting.device), TAPS[256], EXPLORATION_STEPS
    start, mean = setting.normal(1, generator.w_dim), generator.mean_w
    options = ExplorationOptions(steps=steps)
    with torch.no_grad(), setting.autocast():
        target = generator.features(mean[None], layer).float()
        seconds, repeats = timed(lambda: explore(generator, layer, target, start, mean, options), setting)
    return [record("exploration-256", setting, seconds / steps, repeats, 1, what="steps/s")]


def encoder_case(setting: Setting, step: bool) -> list[Record]:
    """Time the paper's encoder forward, or with ``step`` encoder and converter forward and backward; 12 images."""
    shape = {"planes": (16, 16, 16), "blocks": 1, "depth": 2} if setting.small else {}
    count, side = (2, 32) if setting.small else (12, 96)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = HourglassEncoder(**shape).to(setting.device)  # type: ignore[arg-type]
        converter = Converter(16, 16 if setting.small else 512).to(setting.device)
    images = channels_last(setting.normal(count, 3, side, side).clamp(-1, 1))

    def call() -> None:
        with torch.set_grad_enabled(step):
            with setting.autocast():
                output = encoder(images)
                output = converter(output) if step else output
            if step:
                torch.autograd.grad(output.float().square().mean(), parameters)

    parameters = [*encoder.parameters(), *converter.parameters()]
    seconds, repeats = timed(call, setting)
    return [record(f"encoder-{'step' if step else 'forward'}", setting, seconds, repeats, count, what="images/s")]


# Losses and evaluation


def matching_case(setting: Setting, side: int) -> list[Record]:
    """Time the matching loss forward and backward of 12 pairs and take its memory, plain and in chunks."""
    name, pairs, chunk = f"matching-{side}", 2 if setting.small else 12, 16 if setting.small else CHUNK
    shape = (4, side // 4, side // 4) if setting.small else (16, side, side)
    maps = setting.normal(2, pairs, *shape).to(setting.dtype)  # what a convolution gives in this precision

    def loss(count: int, chunk: int | None) -> float:
        source, target = (half.clone().requires_grad_() for half in maps[:, :count])
        value = semantic_matching_loss(source, target, chunk=chunk, weights="softmax")
        value.backward()
        return value.item()

    def measured(suffix: str, count: int, chunk: int | None) -> Record:
        values: list[float] = []
        memory = peak_memory(lambda: values.append(loss(count, chunk)), setting.device)
        seconds, repeats = timed(lambda: values.append(loss(count, chunk)), setting, warm=True)
        scale = pairs // count  # pairs do not share anything, so that seconds and memory grow with their number
        return record(
            f"{name}-{suffix}", setting, seconds * scale, repeats, pairs, what="pairs/s", memory_bytes=memory * scale,
            estimated=True if scale > 1 else None, loss=values[0] if scale == 1 else None,
        )  # fmt: skip

    needed = peak_memory(lambda: loss(1, None), setting.device) * pairs
    fits = needed <= ALWAYS_FREE or available_memory(setting.device) >= SPARE * needed
    return [measured("plain", pairs if fits else 1, None), measured("chunked", pairs, chunk)]


def evaluation_case(setting: Setting) -> list[Record]:
    """Time the transfer of 9 points of each of 100 pairs at 96 px and 16 channels."""
    pairs, side = (3, 12) if setting.small else (100, 96)
    source, target = setting.normal(2, pairs, 16, side, side)
    points = uniform((pairs, 9, 2), 0, "bench").to(setting.device) * (side - 1)
    with torch.no_grad(), setting.autocast():
        seconds, repeats = timed(lambda: transfer(source, target, points), setting)
    return [record("evaluation", setting, seconds, repeats, pairs, what="pairs/s")]


# Training steps


@dataclass
class Regions:
    """Seconds spent inside networks, by network, and in their backward passes.

    A network's forward pass lies between its forward hooks. Its backward pass lies between the gradient node of its
    output and that of its first convolution: autograd runs nodes in the reverse order of their making, so that nothing
    else runs between the two. What updates or adds up gradients is not inside.
    """

    setting: Setting
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _open: list[tuple[str, float]] = field(default_factory=list)
    _handles: list[Any] = field(default_factory=list)

    def enter(self, name: str) -> None:
        """A region begins."""
        self._open.append((name, self.setting.clock()))

    def leave(self, name: str) -> None:
        """It ends; one inside another counts for the outer one alone."""
        opened, start = self._open.pop()
        assert opened == name, f"region {name} ends inside {opened}"
        if not self._open:
            self.seconds[name] += self.setting.clock() - start

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
        """Return the seconds so far and begin anew."""
        assert not self._open, f"region {self._open[-1][0]} has no end"
        taken = dict(self.seconds)
        self.seconds.clear()
        return taken

    def remove(self) -> None:
        """Take the hooks off: generators and teacher are shared by all who ask for them."""
        for handle in self._handles:
            handle.remove()


class StepWatch(L.Callback):
    """Times whole training steps, from the end of one to the end of the next, and what of it is inside networks."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.regions = setting, Regions(setting)
        self.steps: list[tuple[float, dict[str, float]]] = []
        self._mark = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the hooks on and start the clock."""
        assert isinstance(pl_module, DIFE)
        self.regions.watch_method(pl_module)
        self._mark = self.setting.clock()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *unused: Any) -> None:
        """Book a step; end the training when the time is used up."""
        now, inside = self.setting.clock(), self.regions.take()
        if trainer.global_step > UNTIMED_STEPS:
            self.steps.append((now - self._mark, inside))
            trainer.should_stop = sum(seconds for seconds, _ in self.steps) >= self.setting.seconds
        self._mark = self.setting.clock()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the hooks off, also after an error."""
        self.regions.remove()


def step_case(setting: Setting, stage: str) -> list[Record]:
    """Time training steps of DIFE for human + dog, stream synthesis and Lightning's own work included.

    Pseudo-pairs are made before the clock counts, and the gradient's shares (logged every 50 steps) are not measured.
    """
    arguments, stream = _step_arguments(setting, stage)
    watch = StepWatch(setting)
    with torch.random.fork_rng(devices=[]), quiet(), _no_notes():
        torch.manual_seed(0)
        trainer = L.Trainer(
            accelerator="gpu" if setting.device.type == "cuda" else "cpu", devices=1, precision=setting.precision,  # type: ignore[arg-type]
            max_steps=UNTIMED_STEPS + setting.repeats, max_epochs=-1, logger=False, limit_val_batches=0,
            num_sanity_val_steps=0, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
        )  # fmt: skip
        trainer.fit(DIFE(**arguments), StyleGAN2Stream(**stream))
    seconds = statistics.median(seconds for seconds, _ in watch.steps)
    outside = statistics.median(1 - sum(inside.values()) / seconds for seconds, inside in watch.steps)
    parts = {name: statistics.median(inside.get(name, 0.0) for _, inside in watch.steps) for name in watch.steps[0][1]}
    count = len(watch.steps)
    return [record(f"step-{stage}", setting, seconds, count, 1, what="steps/s", outside_share=outside, parts=parts)]


def _step_arguments(setting: Setting, stage: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of method and stream: the shipped configuration's, with a quick set-up."""
    content = yaml.safe_load(find_config(CONFIG).read_text(encoding="utf-8"))
    model, stream = (dict(content[key]["init_args"]) for key in ("model", "data"))
    stream["evaluation"] = None
    model |= {"warmup_steps": 0 if stage == "matching" else 10**9, "share_every": 0}
    model["distillation"] = model["distillation"] | {"statistics_samples": 8}
    model["exploration"] = model["exploration"] | {"steps": 1}  # the pairs' content does not matter here
    model["pairs"] = model["pairs"] | {"refresh_every": 10**9, "first": 2 if setting.small else 8}
    if setting.small:
        stream["batch_size"] = 2
        model["pairs"] |= {"batch_size": 4}
    return model, stream


@contextmanager
def _no_notes() -> Iterator[None]:
    """Leave out what Lightning says of the machine each time; warnings stay."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


Case = Callable[[Setting], list[Record]]


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for side, layer in TAPS.items():
        cases[f"generator-{side}"] = functools.partial(generator_case, side=side)
        cases[f"features-{side}"] = functools.partial(generator_case, side=side, layer=layer)
    cases["exploration-256"] = exploration_case
    cases["encoder-forward"] = functools.partial(encoder_case, step=False)
    cases["encoder-step"] = functools.partial(encoder_case, step=True)
    cases |= {f"matching-{side}": functools.partial(matching_case, side=side) for side in (48, 96)}
    cases["evaluation"] = evaluation_case
    cases |= {f"step-{stage}": functools.partial(step_case, stage=stage) for stage in ("warmup", "matching")}
    return cases


#: Name -> what measures it, in the order of the table.
CASES = _cases()
