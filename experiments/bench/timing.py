"""What the benchmark's cases share: conditions, timings, seconds and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dife_lightning.utils.randomness import normal

FP32 = "32-true"
CONFIG = "world/human_dog"
#: Side of the generator -> tapped layer, in the paper's numbers.
TAPS = {64: 5, 128: 7, 256: 7}
#: The plain matching loss is measured only where this times the memory that it needs is free (14.3 GiB at 96 px).
SPARE = 1.25
#: Bytes that may be used without checking the free memory.
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
    "matching-48-ours": 0.79,
    "evaluation": 0.058,
}


@dataclass(frozen=True)
class Conditions:
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
class Timing:
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
        memory_bytes: peak memory of tensors beyond the inputs.
        estimated: scaled up from one pair, because memory is short.
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


def timing(name: str, conditions: Conditions, seconds: float, repeats: int, count: int = 0, **more: Any) -> Timing:
    """Return a timing; ``count`` (things per call) and ``what`` give a rate, a known case has a reference."""
    reference = REFERENCE.get(name) if conditions.device.type == "cpu" and not conditions.small else None
    ratio = reference / seconds if reference else None
    rate = count / seconds if count else None
    return Timing(
        name, conditions.precision, seconds, repeats, rate=rate, reference_seconds=reference, ratio=ratio, **more
    )


def timed(call: Callable[[], object], conditions: Conditions, warm: bool = False) -> tuple[float, int]:
    """Return the median seconds of ``call`` and how many calls it is of; unless ``warm``, one before is not counted."""
    if not warm:
        call()
    times: list[float] = []
    while not times or (len(times) < conditions.repeats and sum(times) < conditions.seconds):
        start = conditions.clock()
        call()
        times.append(conditions.clock() - start)
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
