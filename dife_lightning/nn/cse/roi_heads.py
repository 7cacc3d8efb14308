"""The path from the feature pyramid to embeddings: decoder, pooling, one of two heads, predictor.

References:
    - [0]: Panoptic Feature Pyramid Networks, CVPR 2019 (the decoder).
    - [1]: DensePose, CVPR 2018 (the plain head).
    - [2]: Rethinking Atrous Convolution for Semantic Image Segmentation, 2017 (the DeepLab head).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.nn.cse.layers import ConvLayer, Norm
from dife_lightning.nn.cse.roi_align import roi_align_legacy
from dife_lightning.nn.group_norm import GroupNorm

#: Groups of the DeepLab head's normalisation.
GROUPS = 32

HeadKind = Literal["v1convx", "deeplab"]


class CSEMaps(NamedTuple):
    """The network's output for each box, at four times the side of the pooled map (112 x 112), float32.

    Attributes:
        embedding: (B, dim, 112, 112), of any length.
        segmentation: (B, classes, 112, 112) logits; class 0 is the background.
    """

    embedding: Tensor
    segmentation: Tensor


class Decoder(nn.Module):
    """Pyramid p2 to p5 to one map of stride 4, (B, out_channels, H / 4, W / 4).

    Every level is brought to the size of p2 by convolutions with ReLU and bilinear x2 in turns; the levels are added
    and a 1x1 convolution ends.

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
    """(B, in_channels, s, s) to (B, width, s, s) by ``convs`` 3x3 convolutions with ReLU (official: 8 of 512)."""

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
    """Atrous spatial pyramid pooling: the map at four scales and its mean, concatenated and projected.

    Maps (B, in_channels, s, s) to (B, channels, s, s). With dilation 56 only the centre of a kernel lies inside a map
    of 28 cells; the weights were trained so.
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
    """ASPP, then ``convs`` 3x3 convolutions with group normalisation and ReLU; shapes as :class:`V1ConvXHead`."""

    def __init__(self, in_channels: int, width: int, convs: int, aspp: int) -> None:
        super().__init__(aspp, width, convs, norm=lambda channels: GroupNorm(GROUPS, channels))
        self.ASPP = ASPP(in_channels, aspp)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, s, s) to (B, width, s, s)."""
        return super().forward(self.ASPP(x))


class Predictor(nn.Module):
    """(B, in_channels, s, s) to an embedding and a coarse segmentation of 4 s x 4 s.

    The first doubling is learnt (transposed convolution), the second bilinear. The embedding is **not** normalised.
    """

    def __init__(self, in_channels: int, dim: int, classes: int) -> None:
        super().__init__()
        self.embed_lowres = nn.ConvTranspose2d(in_channels, dim, 4, stride=2, padding=1)
        self.coarse_segm_lowres = nn.ConvTranspose2d(in_channels, classes, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> CSEMaps:
        """Map (B, in_channels, s, s) to maps (B, dim, 4 s, 4 s) and (B, classes, 4 s, 4 s), float32."""
        return CSEMaps(_double(self.embed_lowres(x)), _double(self.coarse_segm_lowres(x)))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x.float(), scale_factor=2.0, mode="bilinear", align_corners=False)


class DenseHeads(nn.Module):
    """Decoder, pooling of a box, head and predictor; ``embedder`` holds the vertices, which pixels do not need.

    Args:
        decoder: the pyramid to one map.
        head: the pooled map to features.
        predictor: features to maps.
        embedder: vertex embeddings by name, ``embedder_<mesh>``.
        pooled: side of the pooled map.
        stride: pixels per cell of the decoder's map.
    """

    def __init__(
        self,
        decoder: Decoder,
        head: nn.Module,
        predictor: Predictor,
        embedder: nn.ModuleDict,
        pooled: int = 28,
        stride: int = 4,
    ) -> None:
        super().__init__()
        self.pooled, self.stride = pooled, stride
        self.decoder = decoder
        self.densepose_head = head
        self.densepose_predictor = predictor
        self.embedder = embedder

    def forward(self, levels: Sequence[Tensor], boxes: Tensor) -> CSEMaps:
        """Map p2, ..., p5 and one box (B, 4) of each image, in its pixels, to the maps of the boxes."""
        pooled = roi_align_legacy(self.decoder(levels), boxes, self.pooled, 1 / self.stride)
        return self.densepose_predictor(self.densepose_head(pooled))
