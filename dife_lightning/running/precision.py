"""``precision: auto``: use bfloat16 on machines where it is faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from dife_lightning.running.quiet import tell
from dife_lightning.running.record import precision_of

#: Tells the other processes of a distributed run what the first one chose.
PRECISION_VARIABLE = "DIFE_PRECISION"

#: bf16 must be this much faster than fp32 to be worth its rounding.
_WORTHWHILE = 1.15
#: Seconds that one data type may take.
_BUDGET = 0.4


class PrecisionChoice(NamedTuple):
    """The ``name`` that Lightning takes, and ``reason``, a few words for the user."""

    name: str
    reason: str


def choose_precision(verb: str, accelerator: str, run: Path | None) -> str:
    """Return what ``precision: auto`` means for a command.

    For a training it is measured. A resumed run keeps its precision, and all processes of a run have the same. Scores
    are computed in full precision, so that they do not depend on the machine.

    Args:
        verb: of the command.
        accelerator: as the trainer takes it.
        run: that is resumed, or None.
    """
    if verb != "fit":
        return "32-true"
    known = os.environ.get(PRECISION_VARIABLE) or (precision_of(run) if run is not None else None)
    if known is not None:
        return known
    choice = probe_precision(time_convolution if accelerator == "cpu" else None)
    tell(f"precision: {choice.name} ({choice.reason})")
    os.environ[PRECISION_VARIABLE] = choice.name
    return choice.name


def probe_precision(seconds: Callable[[torch.dtype], float] | None = None) -> PrecisionChoice:
    """Choose between ``bf16-mixed`` and ``32-true`` (on a CUDA device: ``bf16-mixed`` and ``16-mixed``).

    Args:
        seconds: gives the time of one convolution forward and backward in a data type; measured by default, which
            takes about one second. Passing it skips the look at CUDA.
    """
    if seconds is None and torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice("bf16-mixed", "the GPU has bfloat16 units")
        return PrecisionChoice("16-mixed", "the GPU has no bfloat16 units")
    seconds = seconds or time_convolution
    ratio = seconds(torch.float32) / seconds(torch.bfloat16)
    reason = f"bf16 convolutions are {ratio:.1f}x as fast as fp32 here"
    return PrecisionChoice("bf16-mixed" if ratio >= _WORTHWHILE else "32-true", reason)


def time_convolution(dtype: torch.dtype) -> float:
    """Return the seconds of one channels-last 3x3 convolution, forward and backward; the best of several."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 64, 24, 24, generator=generator).to(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, generator=generator).to(memory_format=torch.channels_last).requires_grad_()
    _once(images, weight, dtype)  # the first call sets the kernels up
    times: list[float] = []
    while not times or (sum(times) < _BUDGET and len(times) < 40):
        start = time.perf_counter()
        _once(images, weight, dtype)
        times.append(time.perf_counter() - start)
    return min(times)


def _once(images: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> None:
    with torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = torch.nn.functional.conv2d(images, weight, padding=1)
    torch.autograd.grad(output.float().sum(), weight)
