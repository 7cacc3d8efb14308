"""Hourglass encoder Φ of DIFE: DVE's hourglass with group instead of batch normalisation.

References:
    - [0]: Dense Interspecies Face Embedding, NeurIPS 2022, section 4.1 and its official networks.
    - [1]: Descriptor Vector Exchange, ICCV 2019.
    - [2]: Stacked Hourglass Networks, ECCV 2016.

Names and order of the parameters are those of the official checkpoints, so they load unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.nn.group_norm import GroupNorm

Norm = Callable[[int], nn.Module]
#: Largest depth of an hourglass, which takes images of 2048 px.
DEEPEST = 10
#: Output channels of a residual block per bottleneck channel.
EXPANSION = 2


class ResidualBlock(nn.Module):
    """Pre-activation bottleneck: norm-relu-1x1, norm-relu-3x3, norm-relu-1x1, plus the (projected) input."""

    def __init__(self, in_channels: int, planes: int, norm: Norm) -> None:
        super().__init__()
        out_channels = planes * EXPANSION
        self.bn1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, planes, 1)
        self.bn2 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)
        self.bn3 = norm(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1)
        self.downsample = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, 2 * planes, h, w)."""
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(x))


def _blocks(in_channels: int, planes: int, count: int, norm: Norm) -> nn.Sequential:
    width = planes * EXPANSION
    return nn.Sequential(*(ResidualBlock(in_channels if i == 0 else width, planes, norm) for i in range(count)))


class Hourglass(nn.Module):
    """Downsample by 2 ``depth`` times, upsample again, and add the skip connection of each level."""

    def __init__(self, depth: int, planes: int, blocks: int, norm: Norm) -> None:
        super().__init__()
        self.depth = depth
        width = planes * EXPANSION
        for level in range(depth, 0, -1):
            slots = (1, 2, 3, 4) if level == 1 else (1, 2, 3)
            for slot in slots:
                self.add_module(f"layer{level}_{slot}", _blocks(width, planes, blocks, norm))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 2 * planes, h, w) to the same shape; h and w are multiples of ``2 ** depth``."""
        return self._level(self.depth, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        skip = self.get_submodule(f"layer{level}_1")(x)
        # As the official network: the output of the skip is pooled, not its input as in the hourglass paper.
        low = self.get_submodule(f"layer{level}_2")(F.max_pool2d(skip, 2))
        low = self._level(level - 1, low) if level > 1 else self.get_submodule("layer1_4")(low)
        low = self.get_submodule(f"layer{level}_3")(low)
        return skip + F.interpolate(low, skip.shape[-2:], mode="nearest")


class HourglassEncoder(nn.Module):
    """Encoder Φ: image to embedding, not normalised.

    The defaults are the paper's network, with 12,597,136 parameters at ``dim=16``.

    Args:
        dim: channels n of the embedding.
        planes: bottleneck widths of the stem's three stages; their outputs are twice as wide.
        blocks: residual blocks at each place of the hourglass.
        depth: number of downsamplings in the hourglass, 1 to 10; image sides are multiples of ``2 ** (depth + 1)``.
        stacks: number of hourglasses in a row; only the output of the last one is returned.
        norm: ``group`` (DIFE) or ``batch`` (DVE).
        groups: groups of the group normalisation; all ``planes`` must be multiples of it.
        keep_size: the output has the image's size (bilinear x2 with align_corners=True before the last convolution);
            otherwise half of it (DVE).
        scaled_norm_output: unit vectors times a learnt scale that starts at 20 (an option of DVE).

    Raises:
        ConfigError: ``planes`` that are not multiples of ``groups``, or a depth out of range.
    """

    def __init__(
        self,
        dim: int = 16,
        planes: tuple[int, int, int] = (64, 128, 128),
        blocks: int = 4,
        depth: int = 4,
        stacks: int = 1,
        norm: Literal["group", "batch"] = "group",
        groups: int = 16,
        keep_size: bool = True,
        scaled_norm_output: bool = False,
    ) -> None:
        super().__init__()
        stem, middle, width = planes
        if norm == "group" and any(p % groups for p in planes):
            raise ConfigError(f"encoder planes {tuple(planes)} are not all multiples of groups={groups}; change either")
        if not 1 <= depth <= DEEPEST:  # also bounds memory when the settings come from an untrusted file
            raise ConfigError(f"encoder depth is {depth}, expected 1 to {DEEPEST}")
        make: Norm = (lambda c: GroupNorm(groups, c)) if norm == "group" else nn.BatchNorm2d
        self.dim, self.side_multiple, self.keep_size = dim, 2 ** (depth + 1), keep_size
        self.stride = 1 if keep_size else 2
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3)
        self.bn1 = make(stem)
        self.layer1 = _blocks(stem, stem, 1, make)
        self.layer2 = _blocks(2 * stem, middle, 1, make)
        self.layer3 = _blocks(2 * middle, width, 1, make)
        channels = 2 * width
        self.hg = nn.ModuleList(Hourglass(depth, width, blocks, make) for _ in range(stacks))
        self.output_layers = nn.ModuleList(self._head(channels, width, blocks, make) for _ in range(stacks))
        self.normscale = nn.Parameter(torch.tensor(20.0)) if scaled_norm_output else None

    def _head(self, channels: int, planes: int, blocks: int, norm: Norm) -> nn.Sequential:
        up: list[nn.Module] = []
        if self.keep_size:
            up = [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)]
        layers: list[nn.Module] = [_blocks(channels, planes, blocks, norm), nn.Conv2d(channels, channels, 1)]
        return nn.Sequential(*layers, norm(channels), nn.ReLU(), *up, nn.Conv2d(channels, self.dim, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) in [-1, 1] to (B, dim, H, W), or (B, dim, H/2, W/2) without ``keep_size``.

        Raises:
            ConfigError: sides that are not multiples of ``2 ** (depth + 1)``.
        """
        height, width = images.shape[-2:]
        if height % self.side_multiple or width % self.side_multiple:
            raise ConfigError(
                f"the encoder got {width} x {height} images; sides must be multiples of {self.side_multiple}: "
                "resize the images or lower the encoder's depth"
            )
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        for hourglass, head in zip(self.hg, self.output_layers, strict=True):
            refined = hourglass(x)
            out = head(refined)
            x = refined
        return out if self.normscale is None else F.normalize(out.float(), dim=1) * self.normscale

    def check_side(self, side: int, what: str = "size") -> None:
        """Raise ConfigError if the encoder does not take images of ``side`` px; ``what`` is the option's name."""
        if side < self.side_multiple or side % self.side_multiple:
            raise ConfigError(
                f"{what} is {side}; the encoder takes multiples of {self.side_multiple} px: set it to "
                f"{max(-(-side // self.side_multiple), 1) * self.side_multiple}, or lower encoder.depth"
            )

    @property
    def last_weight(self) -> nn.Parameter:
        """The weight of the last convolution, through which all gradients enter the encoder."""
        return self.get_parameter(f"output_layers.{len(self.output_layers) - 1}.{5 if self.keep_size else 4}.weight")
