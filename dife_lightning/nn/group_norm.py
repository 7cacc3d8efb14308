"""Group normalisation that is faster than torch's on a CPU for channels_last maps with few channels per group.

Parameters, values and gradients equal those of :class:`torch.nn.GroupNorm` up to rounding. In all other cases torch's
own kernel runs. Statistics are always fp32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Bytes per pixel and group from which torch's own backward pass is faster.
_WIDE = 32


class GroupNorm(nn.GroupNorm):
    """Drop-in for :class:`torch.nn.GroupNorm`, (B, C, H, W) to the same shape and dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, H, W) over each group of channels and all pixels."""
        narrow = x.shape[1] // self.num_groups * x.element_size() < _WIDE
        fast = narrow and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
        if not fast or x.dtype not in (torch.bfloat16, self.weight.dtype):
            return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        with torch.autocast("cpu", enabled=False):
            return _ChannelsLastGroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)


class _ChannelsLastGroupNorm(torch.autograd.Function):
    """Torch's forward kernel, with a backward pass of element-wise kernels that is 2 to 4 times as fast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels, height, width = x.shape
        y, mean, scale = torch.native_group_norm(x, weight, bias, batch, channels, height * width, groups, eps)
        ctx.save_for_backward(x, mean, scale, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, scale, weight = ctx.saved_tensors
        batch, channels, height, width = x.shape
        groups = mean.shape[1]
        flat = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        grad = grads[0].permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        mean, scale = (t.float().repeat_interleave(channels // groups, 1) for t in (mean, scale))
        grad_sum = grad.sum(dim=1, dtype=torch.float32)
        # sum of grad times the normalised x
        grad_hat = ((grad * flat).sum(dim=1, dtype=torch.float32) - mean * grad_sum) * scale
        g = weight.float()

        def per_group(values: Tensor) -> Tensor:
            total = values.reshape(batch, groups, -1).sum(-1) / (height * width * channels // groups)
            return total.repeat_interleave(channels // groups, 1)

        slope = -scale.square() * per_group(grad_hat * g)
        offset = -scale * per_group(grad_sum * g) - mean * slope
        a, b, c = (t[:, None].to(x.dtype) for t in (scale * g, slope, offset))
        dx = torch.addcmul(c, flat, b).addcmul_(grad, a)
        dx = dx.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return dx, grad_hat.sum(0).to(weight.dtype), grad_sum.sum(0).to(weight.dtype), None, None
