"""The backbone of CATs: a ResNet in torchvision's layout, and the hyperpixel features that are taken from it.

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

#: Output channels of a bottleneck, in units of its inner width.
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution plus the input or its projection, **without** the ReLU after the sum.

    Maps (B, in_channels, h, w) to (B, 4 * planes, h / stride, w / stride). The stride sits in the 3x3 convolution.
    """

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
        """Map (B, in_channels, h, w), after a ReLU, to the sum (B, 4 * planes, h / stride, w / stride) before one."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x))


class ResNet(nn.Module):
    """Image (B, 3, H, W) to the maps behind its stem and each of its bottlenecks.

    Args:
        stem: channels of the stem (ResNet-101: 64).
        blocks: bottlenecks of each stage, one to four stages; (3, 4, 23, 3) is ResNet-101.
        planes: inner widths of the stages (ResNet-101: 64, 128, 256, 512).
        classes: outputs of a classifier that nothing here uses, but public checkpoints hold; 0 for none.

    Raises:
        ConfigError: no stage, more than four, one without a bottleneck, or a width for each missing.
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
        #: Channels of each map that :meth:`maps` gives.
        self.widths = tuple(widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def bottlenecks(self) -> list[Bottleneck]:
        """Return all bottlenecks in order; number k of the hyperpixels is the (k - 1)th of them."""
        stages = (self.get_submodule(f"layer{number}") for number in range(1, self.stages + 1))
        return [block for stage in stages for block in stage.children() if isinstance(block, Bottleneck)]

    def maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the stem's map (B, stem, H / 4, W / 4), then the sum of each bottleneck before its last ReLU."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        yield x
        for block in self.bottlenecks():
            total = block(x)
            yield total
            x = F.relu(total)


class HyperpixelFeatures(nn.Module):
    """Maps of several depths, all brought to one grid.

    Args:
        backbone: where they come from. What lies behind the last one taken is never computed nor trained.
        hyperpixels: numbers of the maps: 0 for the stem, k for the k-th bottleneck; rising.
        side: side of the grid.

    Raises:
        ConfigError: no number, one that the backbone does not have, or not in rising order.
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
        """Map normalised images (B, 3, H, W) to one (B, widths[i], side, side) for each hyperpixel."""
        found: list[Tensor] = []
        for number, maps in enumerate(self.backbone.maps(images)):
            if number in self.hyperpixels:
                size = (self.side, self.side)
                found.append(F.interpolate(maps, size, mode="bilinear", align_corners=True))
            if number == self.hyperpixels[-1]:
                break
        return found


def image_net_normalized(images: Tensor) -> Tensor:
    """Turn images (B, 3, H, W) in [-1, 1] into what backbones that were trained on ImageNet expect."""
    mean = images.new_tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = images.new_tensor([0.229, 0.224, 0.225])[:, None, None]
    return ((images + 1) / 2 - mean) / deviation
