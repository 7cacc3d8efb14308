"""From the feature pyramid to the embedding: decoder, box pooling, one of two heads, predictor.

References:
    - [0]: Panoptic Feature Pyramid Networks, CVPR 2019 (decoder).
    - [1]: DensePose, CVPR 2018 (V1ConvX head).
    - [2]: Rethinking Atrous Convolution for Semantic Image Segmentation, 2017 (DeepLab head).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.nn.cse.layers import ConvLayer, Norm
from dife_lightning.nn.cse.roi_align import roi_align_legacy
from dife_lightning.nn.group_norm import GroupNorm

#: Groups of the DeepLab head's normalisation.
GROUPS = 32

HeadKind = Literal["v1convx", "deeplab"]


class Decoder(nn.Module):
    """Pyramid to one map of stride 4.

    Each level is upsampled to the size of p2 by alternating 3x3 convolutions with ReLU and bilinear x2. The levels are
    then added, and a 1x1 convolution follows.

    Args:
        in_channels: channels of the pyramid.
        channels: channels inside (official: 256).
        out_channels: channels of the result (official: 256).
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int) -> None:
        super().__init__()
        for level in (2, 3, 4, 5):
            layers: list[nn.Module] = []
            for step in range(max(1, level - 2)):
                layers.append(ConvLayer(channels if step else in_channels, channels, 3, relu=True))
                if level > 2:
                    layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.add_module(f"p{level}", nn.Sequential(*layers))
        self.predictor = ConvLayer(channels, out_channels, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map p2, ..., p5 to (B, out_channels, H / 4, W / 4)."""
        maps = [self.get_submodule(f"p{number}")(x) for number, x in zip((2, 3, 4, 5), levels, strict=True)]
        return self.predictor(torch.stack(maps).sum(dim=0))


class V1ConvXHead(nn.Module):
    """``convs`` 3x3 convolutions of ``width`` channels with ReLU (official: 8 of 512)."""

    def __init__(self, in_channels: int, width: int, convs: int, norm: Norm | None = None) -> None:
        super().__init__()
        self.convs = convs
        for i in range(convs):
            self.add_module(
                f"body_conv_fcn{i + 1}", ConvLayer(width if i else in_channels, width, 3, norm=norm, relu=True)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, s, s) to (B, width, s, s)."""
        for i in range(self.convs):
            x = self.get_submodule(f"body_conv_fcn{i + 1}")(x)
        return x


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: four dilations and the mean of the map, concatenated and projected.

    The dilations are those of the public weights. At 56 only the centre of a kernel lies inside the 28 x 28 map.
    """

    dilations = (6, 12, 56)

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        branches = [self._branch(nn.Conv2d(in_channels, channels, 1, bias=False))]
        for dilation in self.dilations:
            conv = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
            branches.append(self._branch(conv))
        branches.append(self._branch(nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, channels, 1, bias=False)))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(nn.Conv2d(len(branches) * channels, channels, 1, bias=False), nn.ReLU())

    @staticmethod
    def _branch(*layers: nn.Module) -> nn.Sequential:
        conv = layers[-1]
        assert isinstance(conv, nn.Conv2d)
        return nn.Sequential(*layers, GroupNorm(GROUPS, conv.out_channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, s, s) to (B, channels, s, s)."""
        maps = [branch(x) for branch in self.convs]
        maps[-1] = maps[-1].expand_as(maps[0])
        return self.project(torch.cat(maps, dim=1))


class DeepLabHead(V1ConvXHead):
    """ASPP, then ``convs`` 3x3 convolutions with group normalisation and ReLU."""

    def __init__(self, in_channels: int, width: int, convs: int, aspp: int) -> None:
        super().__init__(aspp, width, convs, norm=lambda channels: GroupNorm(GROUPS, channels))
        self.ASPP = ASPP(in_channels, aspp)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, s, s) to (B, width, s, s)."""
        return super().forward(self.ASPP(x))


class Predictor(nn.Module):
    """Features to an embedding of 4x the size, **not** normalised: transposed convolution, then bilinear x2."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.embed_lowres = nn.ConvTranspose2d(in_channels, dim, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, s, s) to (B, dim, 4 s, 4 s), float32."""
        low = self.embed_lowres(x).float()
        return F.interpolate(low, scale_factor=2.0, mode="bilinear", align_corners=False)


class DenseHeads(nn.Module):
    """Decoder, box pooling, head and predictor.

    Args:
        decoder: pyramid to one map of stride 4.
        head: pooled map to features.
        predictor: features to the embedding.
        pooled: side of the pooled map.
    """

    def __init__(self, decoder: Decoder, head: nn.Module, predictor: Predictor, pooled: int = 28) -> None:
        super().__init__()
        self.pooled = pooled
        self.decoder = decoder
        self.densepose_head = head
        self.densepose_predictor = predictor

    def forward(self, levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Embed one box (B, 4) per image, in its pixels, from p2, ..., p5: (B, dim, 4 * pooled, 4 * pooled) float32."""
        pooled = roi_align_legacy(self.decoder(levels), boxes, self.pooled, 1 / 4)
        return self.densepose_predictor(self.densepose_head(pooled))
