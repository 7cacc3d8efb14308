"""HRNetV2: one heat map per landmark, from branches of four resolutions that exchange their maps again and again.

References:
    - [0]: High-Resolution Representations for Labeling Pixels and Regions (Sun et al., 2019), figures 1 to 3.
    - [1]: Meta-CSKT (ACM MM 2023) and its official networks: HRNetV2-W18 for landmarks.

Names and order of the parameters are those of the official checkpoints, so they load unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.nn.backbone import IMAGENET_MEAN, IMAGENET_STD
from dife_lightning.utils.checks import require

#: Output channels of a bottleneck of the stem per inner channel.
EXPANSION = 4
#: Standard deviation of the weights of a new network, as usual for HRNet.
_INITIAL = 0.001


@dataclass(frozen=True)
class HRNetOptions:
    """Sizes of an HRNet; the defaults are the published W18 for nine points, with 9,638,409 parameters.

    Attributes:
        points: number of landmarks K, and so of heat maps.
        stem: channels of the stem, and inner channels of its bottlenecks.
        bottlenecks: of the stem.
        channels: of the four branches; each has half the resolution of the one before.
        modules: exchange modules of the stages with two, three and four branches.
        blocks: residual blocks of a branch in each module.
        momentum: of the batch normalisation. The published 0.01 averages over hundreds of steps; take 0.1 for a
            training of fewer.
    """

    points: int = 9
    stem: int = 64
    bottlenecks: int = 4
    channels: tuple[int, ...] = (18, 36, 72, 144)
    modules: tuple[int, ...] = (1, 4, 3)
    blocks: int = 4
    momentum: float = 0.01

    def __post_init__(self) -> None:
        counts = ("points", "stem", "bottlenecks", "channels", "modules", "blocks")
        require("network.", at_least=1, **{name: getattr(self, name) for name in counts})
        require("network.", above=0, at_most=1, momentum=self.momentum)
        for name, expected in (("channels", 4), ("modules", 3)):
            found = getattr(self, name)
            if len(found) != expected:
                raise ConfigError(f"network.{name} is {list(found)}; expected {expected} numbers")


#: A network for trainings on a CPU, with 1/40 of the parameters.
HRNET_SMALL = HRNetOptions(stem=16, bottlenecks=1, channels=(8, 16, 32, 64), modules=(1, 1, 1), blocks=1, momentum=0.1)


class HRNet(nn.Module):
    """Map images (B, 3, H, W) in [-1, 1] to heat maps (B, points, ceil(H / 4), ceil(W / 4)).

    Images of every size are taken: 256 px give 64 cells, and so do the published 255. ImageNet's normalisation is done
    inside. Cells are where a resized image would have them (``geometry.heatmaps``). In training, batch normalisation
    needs more than one image, or more than 32 px.

    Args:
        options: the sizes.
    """

    def __init__(self, options: HRNetOptions = HRNetOptions()) -> None:
        super().__init__()
        self.options = options
        stem, momentum, channels = options.stem, options.momentum, options.channels
        self.conv1 = _conv(3, stem, stride=2)
        self.bn1 = nn.BatchNorm2d(stem, momentum=momentum)
        self.conv2 = _conv(stem, stem, stride=2)
        self.bn2 = nn.BatchNorm2d(stem, momentum=momentum)
        wide = EXPANSION * stem
        self.layer1 = nn.Sequential(
            *(Bottleneck(stem if k == 0 else wide, stem, momentum) for k in range(options.bottlenecks))
        )
        self.transition1 = _transition((wide,), channels[:2], momentum)
        self.stage2 = _stage(options, branches=2)
        self.transition2 = _transition(channels[:2], channels[:3], momentum)
        self.stage3 = _stage(options, branches=3)
        self.transition3 = _transition(channels[:3], channels, momentum)
        self.stage4 = _stage(options, branches=4)
        self.head = _head(options)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to heat maps (B, points, h, w), float32 also under autocast."""
        x = channels_last(_normalized(images))
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        maps = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # the new branch comes from the coarsest one
            maps = stage([widen(x) for widen, x in zip(transition, [*maps, maps[-1]], strict=True)])
        size = maps[0].shape[-2:]
        return self.head(torch.cat([_resized(x, size) for x in maps], dim=1)).float()

    def replace_head(self, points: int) -> None:
        """Put a new, untrained head for ``points`` landmarks on the network."""
        self.options = replace(self.options, points=points)
        self.head = _head(self.options).apply(_initialise).to(self.conv1.weight.device)

    @staticmethod
    def map_size(width: int, height: int) -> tuple[int, int]:
        """Return width and height of the heat maps of an image."""
        return -(-width // 4), -(-height // 4)


class ExchangeModule(nn.Module):
    """Residual blocks on each branch; then each branch gets the sum of all, brought to its resolution and channels."""

    def __init__(self, channels: Sequence[int], blocks: int, momentum: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, momentum) for _ in range(blocks))) for width in channels
        )
        count = range(len(channels))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(channels[j], channels[i], i - j, momentum) for j in count) for i in count
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Map one (B, C, h, w) per branch, finest first, to the same shapes."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for paths, own in zip(self.fuse_layers, maps, strict=True):
            pairs = zip(cast(nn.ModuleList, paths), maps, strict=True)
            parts = [_resized(path(x), own.shape[-2:]) for path, x in pairs]
            fused.append(F.relu(sum(parts[1:], parts[0])))
        return fused


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, added to the input."""

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels)
        self.bn1 = nn.BatchNorm2d(channels, momentum=momentum)
        self.conv2 = _conv(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution, added to the (projected) input."""

    def __init__(self, inputs: int, planes: int, momentum: float) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = _conv(inputs, planes, kernel=1)
        self.bn1 = nn.BatchNorm2d(planes, momentum=momentum)
        self.conv2 = _conv(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes, momentum=momentum)
        self.conv3 = _conv(planes, outputs, kernel=1)
        self.bn3 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.downsample = _unit(inputs, outputs, momentum, kernel=1, relu=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, 4 * planes, h, w)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _unit(
    inputs: int, outputs: int, momentum: float, kernel: int = 3, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return a convolution with batch normalisation and, by default, ReLU."""
    layers = (_conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs, momentum=momentum))
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def _transition(old: Sequence[int], new: Sequence[int], momentum: float) -> nn.ModuleList:
    """Return what makes ``len(old) + 1`` branches of ``old``; branches whose channels stay the same are passed on."""
    kept = [nn.Identity() if a == b else _unit(a, b, momentum) for a, b in zip(old, new[:-1], strict=True)]
    return nn.ModuleList([*kept, nn.Sequential(_unit(old[-1], new[-1], momentum, stride=2))])


def _stage(options: HRNetOptions, branches: int) -> nn.Sequential:
    count, channels = options.modules[branches - 2], options.channels[:branches]
    return nn.Sequential(*(ExchangeModule(channels, options.blocks, options.momentum) for _ in range(count)))


def _path(inputs: int, outputs: int, halvings: int, momentum: float) -> nn.Module:
    """Return what takes a branch to another of ``halvings`` times half its resolution; below 0, of a finer one."""
    if halvings == 0:
        return nn.Identity()
    if halvings < 0:  # the map is enlarged when it is added
        return _unit(inputs, outputs, momentum, kernel=1, relu=False)
    steps = [_unit(inputs, inputs, momentum, stride=2) for _ in range(halvings - 1)]
    return nn.Sequential(*steps, _unit(inputs, outputs, momentum, stride=2, relu=False))


def _head(options: HRNetOptions) -> nn.Sequential:
    width = sum(options.channels)
    norm = nn.BatchNorm2d(width, momentum=options.momentum)
    return nn.Sequential(nn.Conv2d(width, width, 1), norm, nn.ReLU(), nn.Conv2d(width, options.points, 1))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=_INITIAL)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _normalized(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) in [-1, 1] with ImageNet's mean and deviation taken out, float32."""
    with torch.autocast(images.device.type, enabled=False):
        pixels = ((images.float() + 1) / 2).unbind(dim=1)
        numbers = zip(pixels, IMAGENET_MEAN, IMAGENET_STD, strict=True)
        return torch.stack([(channel - mean) / std for channel, mean, std in numbers], dim=1)


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    """Enlarge bilinearly; a map of that size is returned as it is."""
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)
