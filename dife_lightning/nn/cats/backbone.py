"""Backbone of CATs: a ResNet in torchvision's layout, and hyperpixel features taken from it.

References:
    - [0]: Deep Residual Learning for Image Recognition, CVPR 2016.
    - [1]: Hyperpixel Flow: Semantic Correspondence with Multi-layer Neural Features, ICCV 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.nn.backbone import IMAGENET_MEAN, IMAGENET_STD

#: Output channels of a bottleneck relative to its inner width.
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 (with stride) and 1x1 convolution, plus the input or its projection, **without** the final ReLU."""

    def __init__(self, in_channels: int, planes: int, stride: int, project: bool) -> None:
        super().__init__()
        width = planes * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        projection = (nn.Conv2d(in_channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
        self.downsample = nn.Sequential(*projection) if project else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, 4 * planes, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x))


class ResNet(nn.Module):
    """ResNet that returns the maps of its stem and of all bottlenecks.

    Args:
        stem: channels of the stem.
        blocks: bottlenecks of each stage.
        planes: inner widths of the stages.
        classes: outputs of the unused classifier; 0 for none.

    Raises:
        ConfigError: not one to four stages, a stage without bottleneck, or not one width per stage.
    """

    def __init__(self, stem: int, blocks: Sequence[int], planes: Sequence[int], classes: int = 0) -> None:
        super().__init__()
        if not 1 <= len(blocks) <= 4 or len(planes) != len(blocks) or min((stem, *blocks, *planes)) < 1:
            found = f"backbone: stem {stem}, blocks {list(blocks)}, planes {list(planes)}"
            raise ConfigError(f"{found}; expected one to four stages with a number of blocks and of planes each")
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.stages = len(blocks)
        channels, widths = stem, [stem]
        for number, (count, width) in enumerate(zip(blocks, planes, strict=True), start=1):
            first = Bottleneck(channels, width, stride=1 if number == 1 else 2, project=True)
            channels = width * EXPANSION
            others = (Bottleneck(channels, width, stride=1, project=False) for _ in range(count - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
            widths += [channels] * count
        self.fc = nn.Linear(channels, classes) if classes else None
        #: Channels of each map of :meth:`maps`.
        self.widths = tuple(widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def bottlenecks(self) -> list[Bottleneck]:
        """Return all bottlenecks; hyperpixel k is the output of item k - 1."""
        stages = (self.get_submodule(f"layer{number}") for number in range(1, self.stages + 1))
        return [block for stage in stages for block in stage.children() if isinstance(block, Bottleneck)]

    def maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the map of the stem (B, stem, H / 4, W / 4), then the output of each bottleneck before its ReLU."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        yield x
        for block in self.bottlenecks():
            total = block(x)
            yield total
            x = F.relu(total)


class HyperpixelFeatures(nn.Module):
    """Maps of several depths, resized to one grid.

    Args:
        backbone: layers after the last hyperpixel are neither computed nor trained.
        hyperpixels: maps to use, ascending: 0 for the stem, k for the k-th bottleneck.
        side: side of the grid.

    Raises:
        ConfigError: no hyperpixels, not ascending, or not in the backbone.
    """

    def __init__(self, backbone: ResNet, hyperpixels: Sequence[int], side: int) -> None:
        super().__init__()
        last = len(backbone.widths) - 1
        rising = all(a < b for a, b in itertools.pairwise(hyperpixels))
        if not hyperpixels or not rising or min(hyperpixels) < 0 or max(hyperpixels) > last:
            raise ConfigError(f"hyperpixels {list(hyperpixels)}: expected rising numbers of maps from 0 to {last}")
        self.backbone, self.hyperpixels, self.side = backbone, tuple(hyperpixels), side
        self.widths = tuple(backbone.widths[number] for number in hyperpixels)
        for unused in (*backbone.bottlenecks()[hyperpixels[-1] :], backbone.fc):
            if unused is not None:
                unused.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalised images (B, 3, H, W) to one map (B, widths[i], side, side) per hyperpixel."""
        found: list[Tensor] = []
        for number, maps in enumerate(self.backbone.maps(images)):
            if number in self.hyperpixels:
                size = (self.side, self.side)
                found.append(F.interpolate(maps, size, mode="bilinear", align_corners=True))
            if number == self.hyperpixels[-1]:
                break
        return found


def image_net_normalized(images: Tensor) -> Tensor:
    """Normalise images (B, 3, H, W) in [-1, 1] by the mean and standard deviation of ImageNet."""
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images + 1) / 2 - mean) / deviation
