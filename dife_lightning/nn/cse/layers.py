"""Convolution layer of CSE, and the frozen batch normalisation of its backbone."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class FrozenBatchNorm(nn.Module):
    """Batch normalisation with constant statistics and affine map, the same in train and eval mode.

    All four are buffers, because detectron2 never trains them.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``weight * (x - mean) / std + bias`` in fp32 for ``x`` (B, C, h, w); the dtype is kept."""
        with torch.autocast(x.device.type, enabled=False):
            y = F.batch_norm(x.float(), self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return y.to(x.dtype)


class ConvLayer(nn.Conv2d):
    """Convolution with "same" padding (odd ``kernel``), optional norm, optional ReLU; a bias only without norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        norm: Norm | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=norm is None)
        self.norm = norm(out_channels) if norm else None
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, out_channels, ceil(h / stride), ceil(w / stride))."""
        y = super().forward(x)
        y = y if self.norm is None else self.norm(y)
        return F.relu(y) if self.relu else y
