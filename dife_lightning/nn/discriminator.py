"""StyleGAN2's residual discriminator, with the parameter names of NVlabs' stylegan2-ada-pytorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.nn.stylegan2_mapping import FullyConnected, Mapping
from dife_lightning.nn.stylegan2_ops import GAIN, SLOPE, conv2d_down, setup_filter

Stem = Literal["rgb", "space-to-depth"]


class Convolution(nn.Module):
    """Convolution with equalised learning rate, optional downsampling by 2; bias and leaky ReLU unless ``linear``."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, down: bool = False, linear: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", setup_filter())
        self.weight_gain = 1 / math.sqrt(inputs * kernel**2)
        self.down = down

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map (B, I, H, W) to (B, O, H, W), or half the side; ``gain`` scales the result."""
        # Leaky ReLU is homogeneous, so its gain is applied to the small tensors before it.
        gain = gain if self.bias is None else gain * GAIN
        weight = self.weight * (self.weight_gain * gain)
        bias = None if self.bias is None else self.bias * gain
        if self.down:
            x = conv2d_down(x, weight, self.resample_filter)
            x = x if bias is None else x + bias.to(x.dtype)[:, None, None]
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return x if self.bias is None else F.leaky_relu_(x, SLOPE)


class Block(nn.Module):
    """Residual block with downsampling by 2: two convolutions and a linear shortcut."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, image_channels: int = 0) -> None:
        super().__init__()
        self.register_buffer("resample_filter", setup_filter())
        if image_channels:
            self.fromrgb = Convolution(image_channels, inputs, 1)
        self.conv0 = Convolution(inputs, inputs, 3)
        self.conv1 = Convolution(inputs, outputs, 3, down=True)
        self.skip = Convolution(inputs, outputs, 1, down=True, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, I, H, W), or the image in the first block, to (B, O, H/2, W/2)."""
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        # The factor sqrt(0.5) keeps the variance.
        return self.skip(x, gain=math.sqrt(0.5)) + self.conv1(self.conv0(x), gain=math.sqrt(0.5))


def minibatch_std(x: Tensor, group_size: int = 4) -> Tensor:
    """Append a channel to ``x`` (B, C, H, W): the mean standard deviation within groups of samples.

    A group of size g holds the samples i, i + B/g, i + 2B/g, ...; g is the largest divisor of B up to ``group_size``.
    """
    batch, _, height, width = x.shape
    group = next(g for g in range(min(group_size, batch), 0, -1) if batch % g == 0)
    y = x.float().reshape(group, batch // group, -1)
    std = (y.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1)
    return torch.cat((x, std.repeat(group)[:, None, None, None].expand(-1, 1, height, width).to(x.dtype)), dim=1)


class Epilogue(nn.Module):
    """Minibatch standard deviation, convolution at 4 px, two fully connected layers."""

    def __init__(self, channels: int, cmap_dim: int = 0, group_size: int = 4) -> None:
        super().__init__()
        self.group_size, self.cmap_dim = group_size, cmap_dim
        self.conv = Convolution(channels + 1, channels, 3)
        self.fc = FullyConnected(channels * 16, channels, lrelu=True)
        self.out = FullyConnected(channels, cmap_dim or 1)

    def forward(self, x: Tensor, cmap: Tensor | None = None) -> Tensor:
        """Map (B, C, 4, 4) to logits (B, 1), fp32."""
        x = self.conv(minibatch_std(x, self.group_size))
        logits = self.out(self.fc(x.float().flatten(1)))
        if cmap is None:
            return logits
        return (logits * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class Discriminator(nn.Module):
    """Image to a real-or-fake logit.

    Args:
        channels: feature channels at 4, 8, 16, ... pixels, as in the generator.
        c_dim: number of classes; if positive, the logit is a projection on the embedded class.
        stem: ``rgb`` is the published network. ``space-to-depth`` turns 2x2 pixels into channels and has no block
            at full resolution (``channels[-1]`` is unused), which is about twice as fast.
        group_size: of the minibatch standard deviation.
    """

    def __init__(self, channels: Sequence[int], c_dim: int = 0, stem: Stem = "rgb", group_size: int = 4) -> None:
        super().__init__()
        widths = list(channels)[:-1] if stem == "space-to-depth" else list(channels)
        if len(widths) < 2:
            raise ConfigError(f"channels {list(channels)}: expected two or more counts (4, 8, ... px)")
        self.stem, self.c_dim = stem, c_dim
        self.resolution = 2 ** (len(channels) + 1)
        image_channels = 12 if stem == "space-to-depth" else 3
        self.sides = [2 ** (i + 2) for i in range(len(widths) - 1, 0, -1)]
        for i, side in zip(range(len(widths) - 1, 0, -1), self.sides, strict=True):
            first = image_channels if side == self.sides[0] else 0
            self.add_module(f"b{side}", Block(widths[i], widths[i - 1], first))
        if c_dim:
            self.mapping = Mapping(0, c_dim, widths[0], 8, track_average=False)
        self.b4 = Epilogue(widths[0], widths[0] if c_dim else 0, group_size)

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """Map ``images`` (B, 3, R, R) in [-1, 1] and one-hot ``c`` (B, c_dim) to logits (B, 1)."""
        if images.shape[-2:] != (self.resolution, self.resolution):
            side = self.resolution
            raise ConfigError(f"images of {tuple(images.shape[-2:])} px: this discriminator takes {side} x {side}")
        x = F.pixel_unshuffle(images, 2) if self.stem == "space-to-depth" else images
        for side in self.sides:
            x = self.get_submodule(f"b{side}")(x)
        return self.b4(x, self.mapping(None, c) if self.c_dim else None)
