"""CSE's convolution layer, and the frozen batch normalisation of its backbone."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class FrozenBatchNorm(nn.Module):
    """Batch normalisation whose statistics and affine map are constants: ``weight * (x - mean) / std + bias``.

    All four are buffers, because detectron2 never trains them; there is no difference between train and eval mode.
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
        """Normalise ``x`` (B, C, h, w) in fp32; returns the shape and dtype of ``x``."""
        with torch.autocast(x.device.type, enabled=False):
            y = F.batch_norm(x.float(), self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return y.to(x.dtype)


class ConvLayer(nn.Conv2d):
    """Convolution, then a norm named ``norm``, then ReLU; the last two are optional.

    Maps (B, in_channels, h, w) to (B, out_channels, ceil(h / stride), ceil(w / stride)). There is a bias where there
    is no norm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: odd side of the kernel; the padding keeps the size.
        stride: pixels between two outputs.
        norm: makes the norm of ``out_channels`` channels.
        relu: end with a ReLU.
    """

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
        """Map (B, in_channels, h, w) to (B, out_channels, h / stride, w / stride)."""
        y = super().forward(x)
        y = y if self.norm is None else self.norm(y)
        return F.relu(y) if self.relu else y
