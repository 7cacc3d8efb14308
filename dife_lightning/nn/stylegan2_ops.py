"""Tensor operations of StyleGAN2 (Karras et al., 2020): resampling with FIR filters and modulated convolution.

All functions are twice differentiable, work under autocast and use standard PyTorch operators only. In bfloat16 on a
CPU, a convolution and a separate blur were measured to be faster than one convolution with a blurred kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

#: Leaky ReLU slope and output gain that StyleGAN2 uses everywhere.
SLOPE = 0.2
GAIN = math.sqrt(2)


def setup_filter(taps: Sequence[float] = (1, 3, 3, 1)) -> Tensor:
    """Return the separable low-pass filter with the given 1-D ``taps`` as a (k, k) tensor that sums to 1."""
    line = torch.tensor(taps, dtype=torch.float32)
    square = torch.outer(line, line)
    return square / square.sum()


def activate(x: Tensor, gain: float = GAIN) -> Tensor:
    """Leaky ReLU (slope 0.2) times ``gain``, which keeps the variance of a unit-normal input at about 1."""
    return F.leaky_relu(x, SLOPE) * gain


def normalize_second_moment(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each row of ``x`` (B, C) to a mean square of 1, in fp32."""
    x = x.float()
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


class _UpFirDn(torch.autograd.Function):
    """:func:`upfirdn2d` whose gradient is the same operation with ``up`` and ``down`` exchanged.

    PyTorch's own backward of a strided depthwise convolution is about ten times slower than its forward on a CPU.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, kernel: Tensor, up: int, down: int, padding: tuple[int, int, int, int]
    ) -> Tensor:
        ctx.kernel, ctx.up, ctx.down, ctx.padding, ctx.sides = kernel, up, down, padding, x.shape[2:]  # type: ignore
        weight = kernel.flip(0, 1).to(x.dtype)[None, None].expand(x.shape[1], 1, -1, -1)
        left, right, top, bottom = padding
        inner = (0, 0)
        if up == 1 and left == right >= 0 and top == bottom >= 0:  # let the convolution pad
            inner, padding = (top, left), (0, 0, 0, 0)
        with torch.autocast(x.device.type, enabled=False):
            x = _insert_zeros(x, up, padding)
            return F.conv2d(x, weight, stride=down, padding=inner, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        (left, _, top, _), (height, width) = ctx.padding, ctx.sides
        rows, columns = ctx.kernel.shape
        x0, y0 = columns - 1 - left, rows - 1 - top
        x1 = width * ctx.up - grad.shape[3] * ctx.down + left - ctx.up + 1
        y1 = height * ctx.up - grad.shape[2] * ctx.down + top - ctx.up + 1
        x = _UpFirDn.apply(grad, ctx.kernel.flip(0, 1), ctx.down, ctx.up, (x0, x1, y0, y1))
        return x, None, None, None, None


def _insert_zeros(x: Tensor, up: int, padding: tuple[int, int, int, int]) -> Tensor:
    """Insert ``up - 1`` zeros between the pixels of ``x`` and pad; the memory format is kept."""
    if up == 1:
        return F.pad(x, padding) if any(padding) else x
    left, right, top, bottom = (max(side, 0) for side in padding)
    batch, channels, height, width = x.shape
    like = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    shape = (batch, channels, height * up + top + bottom, width * up + left + right)
    spread = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=like).zero_()
    spread[:, :, top : top + height * up : up, left : left + width * up : up] = x
    crop = tuple(min(side, 0) for side in padding)
    return F.pad(spread, crop) if any(crop) else spread


def upfirdn2d(
    x: Tensor,
    kernel: Tensor,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    gain: float = 1.0,
    flip_filter: bool = False,
) -> Tensor:
    """Upsample by zero insertion, pad, filter, and keep every ``down``-th sample.

    Args:
        x: (B, C, H, W).
        kernel: (kh, kw) constant filter (it gets no gradient).
        up: factor of the upsampling.
        down: stride of the output.
        padding: (left, right, top, bottom) in upsampled pixels; negative values crop.
        gain: factor of the result; ``up ** 2`` keeps the brightness.
        flip_filter: correlate instead of convolving.

    Returns:
        (B, C, (H * up + top + bottom - kh) // down + 1, likewise for the width), of the dtype of ``x``.
    """
    kernel = (kernel.flip(0, 1) if flip_filter else kernel) * gain
    result: Tensor = _UpFirDn.apply(x, kernel, up, down, padding)
    return result


def upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the side of ``x`` (B, C, H, W), filtering with ``kernel`` (even side k >= 2)."""
    low, high = (kernel.shape[0] - 2) // 2, (kernel.shape[0] + 1) // 2
    return upfirdn2d(x, kernel, up=2, padding=(high, low, high, low), gain=4)


def downsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Halve the side of ``x`` (B, C, H, W), filtering with ``kernel`` (even side k >= 2)."""
    pad = kernel.shape[0] // 2 - 1
    return upfirdn2d(x, kernel, down=2, padding=(pad, pad, pad, pad))


def conv2d_up(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Double the side: transposed convolution with ``weight`` (O, I, k, k), k odd and not flipped, then ``kernel``."""
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    pad = kernel.shape[0] // 2 - weight.shape[-1] // 2
    return upfirdn2d(x, kernel, padding=(pad, pad, pad, pad), gain=4)


def conv2d_down(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Halve the side: low-pass ``kernel``, then convolution with ``weight`` (O, I, k, k), k odd, at stride 2."""
    if weight.shape[-1] == 1:
        return F.conv2d(downsample2d(x, kernel), weight)
    pad = kernel.shape[0] // 2 - 1 + weight.shape[-1] // 2
    x = upfirdn2d(x, kernel, padding=(pad, pad, pad, pad))
    return F.conv2d(x, weight, stride=2)


def energy(weight: Tensor) -> Tensor:
    """Return (O, I) fp32: the sum of squares of each kernel of ``weight`` (O, I, k, k)."""
    with torch.autocast(weight.device.type, enabled=False):
        return weight.float().square().sum(dim=(2, 3))


def demodulation(weight: Tensor, styles: Tensor, eps: float = 1e-8, variance: Tensor | None = None) -> Tensor:
    """Return the factors (B, O) that give each output channel of a modulated convolution unit variance.

    Args:
        weight: (O, I, k, k).
        styles: (B, I), the scale of each input channel.
        eps: added to the variance.
        variance: :func:`energy` of the weight; computed if None.
    """
    variance = energy(weight) if variance is None else variance
    with torch.autocast(weight.device.type, enabled=False):
        return (styles.float().square() @ variance.t() + eps).rsqrt()


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, kernel: Tensor | None = None, demodulate: bool = True
) -> Tensor:
    """Convolution with the input channels scaled per sample.

    The input is scaled instead of the weights, so one ordinary convolution serves the whole batch.

    Args:
        x: (B, I, H, W).
        weight: (O, I, k, k), k odd.
        styles: (B, I).
        kernel: low-pass filter; if given, the output has twice the side.
        demodulate: scale the output channels to unit variance.

    Returns:
        (B, O, H, W), or (B, O, 2H, 2W) with ``kernel``.
    """
    x = x * styles.to(x.dtype)[:, :, None, None]
    x = F.conv2d(x, weight, padding=weight.shape[-1] // 2) if kernel is None else conv2d_up(x, weight, kernel)
    if demodulate:
        x = x * demodulation(weight, styles).to(x.dtype)[:, :, None, None]
    return x
