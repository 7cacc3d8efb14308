"""Metrics that add up in float64, on devices with and without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric


def has_float64(device: torch.device) -> bool:
    """Return whether a device surely has float64; Apple GPUs do not."""
    return device.type in ("cpu", "cuda")


class Float64Metric(Metric):
    """A metric whose states stay on the CPU where the device may have no float64."""

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        """Move the metric, but no state to a device that may have no float64."""
        if not has_float64(fn(torch.zeros(1)).device):
            exclude_state = tuple(self._defaults)
        return super()._apply(fn, exclude_state)


def in_float64(values: Tensor) -> Tensor:
    """Return ``values`` in float64: on their device if it has that, else on the CPU."""
    return (values if has_float64(values.device) else values.cpu()).double()
