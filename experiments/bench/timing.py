"""Conditions, seconds and peak memory of the benchmark's cases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dife_lightning.utils.randomness import normal

FP32 = "32-true"
#: Seconds of the public reference code in fp32 on 2 idle cores with AMX. They were not measured beside ours.
REFERENCE = {
    "generator-64": 1.82,
    "generator-128": 3.24,
    "generator-256": 5.57,
    "exploration-256": 4.73,
    "encoder-forward": 1.47,
    "encoder-step": 6.31,
    "matching-48-plain": 0.79,
    "matching-48-ours": 0.79,
    "evaluation": 0.058,
}


@dataclass(frozen=True)
class Conditions:
    """How a case is measured.

    Attributes:
        device: where it runs.
        precision: Lightning's name of the precision.
        small: use tiny sizes, to check that everything runs.
        repeats: timed calls at most, after one call that is not timed.
        seconds: start no further call after this many seconds.
    """

    device: torch.device
    precision: str
    small: bool = False
    repeats: int = 5
    seconds: float = 5.0

    @property
    def dtype(self) -> torch.dtype:
        """Type in which convolutions compute."""
        return {FP32: torch.float32, "16-mixed": torch.float16}.get(self.precision, torch.bfloat16)

    def autocast(self) -> torch.autocast | nullcontext[None]:
        """Return the context that a training in this precision has."""
        return nullcontext() if self.precision == FP32 else torch.autocast(self.device.type, dtype=self.dtype)

    def clock(self) -> float:
        """Return seconds, after all work on a GPU is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def normal(self, *shape: int) -> Tensor:
        """Return fixed standard normal numbers on the device."""
        return normal(shape, 0, "bench").to(self.device)


@dataclass
class Timing:
    """One line of the results.

    Attributes:
        name: name of the case, with a suffix if the case has several lines.
        precision: Lightning's name of it.
        seconds: median of one call (generators: a batch of 4; exploration and training: a step).
        repeats: timed calls.
        what: unit of ``rate``.
        rate: how many a second.
        reference_seconds: seconds of the public reference code in fp32.
        ratio: ``reference_seconds / seconds``.
        memory_bytes: peak memory of tensors beyond the inputs.
        estimated: whether seconds and memory are those of one pair, multiplied by the number of pairs.
        loss: value of the loss.
        outside_share: share of a training step that is spent outside the networks.
        parts: network -> seconds of a training step inside it.
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


def timing(
    name: str, conditions: Conditions, seconds: float, repeats: int, count: int, what: str, **more: Any
) -> Timing:
    """Return a timing of ``count`` things per call, compared with the reference if there is one."""
    reference = REFERENCE.get(name) if conditions.device.type == "cpu" and not conditions.small else None
    compared: dict[str, Any] = {"reference_seconds": reference, "ratio": reference / seconds} if reference else {}
    return Timing(name, conditions.precision, seconds, repeats, what, count / seconds, **compared, **more)


def timed(
    name: str, conditions: Conditions, call: Callable[[], object], count: int, what: str, scale: float = 1, **more: Any
) -> Timing:
    """Time ``call``: the median of several calls, multiplied by ``scale``; a first call is not timed."""
    call()
    times: list[float] = []
    while not times or (len(times) < conditions.repeats and sum(times) < conditions.seconds):
        start = conditions.clock()
        call()
        times.append(conditions.clock() - start)
    return timing(name, conditions, statistics.median(times) * scale, len(times), count, what, **more)


def peak_memory(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that tensors took during ``call``, beyond those that existed before.

    On a CPU this adds up the allocations and releases that the profiler records. It is exact for tensors, temporary
    ones included; memory that kernels take for themselves is not counted.
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
