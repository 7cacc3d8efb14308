"""Backbone of CSE: a ResNet (original layout) and a feature pyramid.

References:
    - [0]: Deep Residual Learning for Image Recognition, CVPR 2016.
    - [1]: Feature Pyramid Networks for Object Detection, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.nn.cse.layers import ConvLayer, FrozenBatchNorm

#: Stride of the coarsest map; image sides are padded to a multiple of it.
COARSEST_STRIDE = 32


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, plus the input or its projection; the **first** convolution has the stride."""

    def __init__(self, in_channels: int, planes: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        norm = FrozenBatchNorm
        self.shortcut = ConvLayer(in_channels, width, 1, stride=stride, norm=norm) if project else None
        self.conv1 = ConvLayer(in_channels, planes, 1, stride=stride, norm=norm, relu=True)
        self.conv2 = ConvLayer(planes, planes, 3, norm=norm, relu=True)
        self.conv3 = ConvLayer(planes, width, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, width, h / stride, w / stride)."""
        y = self.conv3(self.conv2(self.conv1(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Stem(nn.Module):
    """7x7 convolution of stride 2, then max-pooling of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(3, channels, 7, stride=2, norm=FrozenBatchNorm, relu=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, channels, H / 4, W / 4)."""
        return F.max_pool2d(self.conv1(images), 3, stride=2, padding=1)


class ResNet(nn.Module):
    """Image to feature maps res2, ..., res5 of strides 4, 8, 16 and 32.

    Args:
        stem: channels of the stem (official: 64).
        blocks: residual blocks of each stage; (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) ResNet-101.
        planes: bottleneck widths of each stage (official: 64, 128, 256, 512).
        widths: output channels of each stage (official: 256, 512, 1024, 2048).
    """

    def __init__(self, stem: int, blocks: Sequence[int], planes: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = Stem(stem)
        inputs = (stem, *self.widths[:-1])
        for number, channels, count, narrow, width in zip((2, 3, 4, 5), inputs, blocks, planes, widths, strict=True):
            first = Bottleneck(channels, narrow, width, stride=1 if number == 2 else 2, project=True)
            others = (Bottleneck(width, narrow, width, stride=1, project=False) for _ in range(count - 1))
            self.add_module(f"res{number}", nn.Sequential(first, *others))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W), sides multiples of 32, to res2, ..., res5: (B, widths[i], H / 4 / 2^i, W / 4 / 2^i)."""
        x, maps = self.stem(images), []
        for number in (2, 3, 4, 5):
            x = self.get_submodule(f"res{number}")(x)
            maps.append(x)
        return maps


class FPN(nn.Module):
    """Image to the feature pyramid p2, ..., p5 of strides 4, 8, 16 and 32.

    The detector's level p6 (every other cell of p5) is left out, because the dense branch does not use it.

    Args:
        bottom_up: the ResNet.
        channels: channels of every level (official: 256).
    """

    def __init__(self, bottom_up: ResNet, channels: int) -> None:
        super().__init__()
        self.bottom_up = bottom_up
        for level, width in zip((2, 3, 4, 5), bottom_up.widths, strict=True):
            self.add_module(f"fpn_lateral{level}", ConvLayer(width, channels, 1))
            self.add_module(f"fpn_output{level}", ConvLayer(channels, channels, 3))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W), sides multiples of 32, to p2, ..., p5: (B, channels, H / 4 / 2^i, W / 4 / 2^i)."""
        return self.pyramid(self.bottom_up(images))

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Merge res2, ..., res5 from the coarsest to the finest; returns p2, ..., p5."""
        merged: Tensor | None = None
        levels: list[Tensor] = []
        for level, x in zip((5, 4, 3, 2), reversed(maps), strict=True):
            lateral = self.get_submodule(f"fpn_lateral{level}")(x)
            merged = lateral if merged is None else lateral + F.interpolate(merged, scale_factor=2.0, mode="nearest")
            levels.append(self.get_submodule(f"fpn_output{level}")(merged))
        return levels[::-1]
