"""Mobile networks of inverted residual blocks, as they were trained on ImageNet: MobileNetV2 and EfficientNet-Lite0.

References: MobileNetV2 (Sandler et al., CVPR 2018), tables 1 and 2; EfficientNet (Tan and Le, ICML 2019), table 1,
without squeeze-and-excitation and with ReLU6 in the Lite variants.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stage(NamedTuple):
    """Blocks of equal form: expansion, output channels, number of blocks, stride of the first, kernel."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int = 3


@dataclass(frozen=True)
class MobileOptions:
    """A network of this family.

    Attributes:
        stages: of the network, after a stem of 32 channels and stride 2.
        epsilon: of the batch normalisation.
        tf_padding: pad as TensorFlow's SAME does: at stride 2 and an even side, one pixel less at the left and top.
    """

    stages: tuple[Stage, ...]
    epsilon: float = 1e-5
    tf_padding: bool = False


MOBILENET_V2 = MobileOptions(
    (
        Stage(1, 16, 1, 1), Stage(6, 24, 2, 2), Stage(6, 32, 3, 2), Stage(6, 64, 4, 2), Stage(6, 96, 3, 1),
        Stage(6, 160, 3, 2), Stage(6, 320, 1, 1),
    )
)  # fmt: skip
EFFICIENTNET_LITE0 = MobileOptions(
    (
        Stage(1, 16, 1, 1), Stage(6, 24, 2, 2), Stage(6, 40, 2, 2, 5), Stage(6, 80, 3, 2), Stage(6, 112, 3, 1, 5),
        Stage(6, 192, 4, 2, 5), Stage(6, 320, 1, 1),
    ),
    epsilon=1e-3,
    tf_padding=True,
)  # fmt: skip


class MobileNet(nn.Module):
    """The convolutional part of a mobile network, without its 1280-channel head.

    ``forward`` has the form of the networks of ``transformers``, so that :class:`~dife_lightning.nn.backbone.Backbone`
    takes both: ``hidden_states[0]`` is the output of the stem, ``hidden_states[k]`` that of block k.

    Args:
        options: the network.
        depth: number of blocks that are built; None for all.
    """

    def __init__(self, options: MobileOptions, depth: int | None = None) -> None:
        super().__init__()
        self.config = SimpleNamespace(patch_size=1)
        channels = 32
        self.stem = ConvNorm(3, channels, options, stride=2)
        self.blocks = nn.ModuleList()
        for stage in options.stages:
            for k in range(stage.repeats):
                self.blocks.append(InvertedResidual(channels, stage, stage.stride if k == 0 else 1, options))
                channels = stage.channels
        self.blocks = self.blocks[:depth]

    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool = True, return_dict: bool = True
    ) -> SimpleNamespace:
        """Return ``hidden_states``: maps (B, C, h, w) of images (B, 3, H, W)."""
        states = [self.stem(pixel_values)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return SimpleNamespace(hidden_states=tuple(states))


class InvertedResidual(nn.Module):
    """Expand (1 x 1), filter each channel (k x k), project (1 x 1) without ReLU6; add the input where shapes agree."""

    def __init__(self, channels: int, stage: Stage, stride: int, options: MobileOptions) -> None:
        super().__init__()
        wide = channels * stage.expansion
        self.expand = ConvNorm(channels, wide, options, kernel=1) if stage.expansion > 1 else None
        self.filter = ConvNorm(wide, wide, options, stage.kernel, stride, groups=wide)
        self.project = ConvNorm(wide, stage.channels, options, relu=False, kernel=1)
        self.adds = stride == 1 and channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h / stride, w / stride)."""
        wide = x if self.expand is None else self.expand(x)
        out: Tensor = self.project(self.filter(wide))
        return x + out if self.adds else out


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        options: MobileOptions,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        own = 0 if options.tf_padding else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, own, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=options.epsilon)
        self.relu, self.tf_padding = relu, options.tf_padding

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h / stride, w / stride), rounded up."""
        x = self._padded(x) if self.tf_padding else x
        learns = self.conv.weight.requires_grad or self.norm.weight.requires_grad or x.requires_grad
        folds = not self.norm.training and not (learns and torch.is_grad_enabled())
        found = self._folded(x) if folds else self.norm(self.conv(x))
        return F.relu6(found, inplace=True) if self.relu else found

    def _folded(self, x: Tensor) -> Tensor:
        """Convolve with the normalisation in the weights: the same, faster, where nothing is propagated back."""
        norm, conv = self.norm, self.conv
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        weight = conv.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)

    def _padded(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        pads = []
        for side in (x.shape[-1], x.shape[-2]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return F.pad(x, pads) if any(pads) else x
