"""The CATs network: two images to the flow between them.

Reference: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dife_lightning.geometry.coordinates import sample_points
from dife_lightning.nn.cats.aggregator import TransformerAggregator
from dife_lightning.nn.cats.architecture import CATsArchitecture
from dife_lightning.nn.cats.backbone import HyperpixelFeatures, ResNet
from dife_lightning.nn.cats.correlation import correlate, mutual, soft_argmax, to_flow


class CATsNetwork(nn.Module):
    """Flow from a target to a source image, on a grid of ``side * side`` cells.

    Args:
        architecture: all sizes; by default the paper's (ResNet-101, 49 million parameters).

    Raises:
        ConfigError: sizes that do not fit together.
    """

    def __init__(self, architecture: CATsArchitecture = CATsArchitecture()) -> None:  # noqa: B008 - frozen
        super().__init__()
        a = self.architecture = architecture
        self.x_normal = nn.Parameter(torch.linspace(-1, 1, a.side), requires_grad=False)
        self.y_normal = nn.Parameter(torch.linspace(-1, 1, a.side), requires_grad=False)
        backbone = ResNet(a.stem, a.blocks, a.planes, a.classes)
        self.feature_extraction = HyperpixelFeatures(backbone, a.hyperpixels, a.side)
        self.proj = nn.ModuleList(nn.Linear(width, a.appearance) for width in self.feature_extraction.widths)
        self.decoder = TransformerAggregator(len(a.hyperpixels), a.side, a.appearance, a.depth, a.heads, a.mlp_ratio)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the features (B, C_l, side, side) of each level of ImageNet-normalised images (B, 3, S, S)."""
        return self.feature_extraction(images)

    def refined(self, target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
        """Return the refined correlation (B, S, T), float32, of two images' features."""
        levels = [mutual(correlate(*pair)) for pair in zip(source, target, strict=True)]
        return self.decoder(torch.stack(levels, dim=1), self._appearance(source), self._appearance(target))

    def _appearance(self, features: Sequence[Tensor]) -> Tensor:
        """Project features to (B, levels, cells, appearance)."""
        pairs = zip(self.proj, features, strict=True)
        return torch.stack([project(maps.flatten(2).transpose(1, 2)) for project, maps in pairs], dim=1)

    def flow(self, target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
        """Return the flow (B, 2, side, side), x then y, float32: target cell p matches p + flow in the source."""
        correlation = self.refined(target, source)
        positions = soft_argmax(correlation, self.x_normal, self.y_normal, self.architecture.temperature)
        return to_flow(positions)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Map images (B, 3, S, S), normalised as for ImageNet and **the target first**, to :meth:`flow`."""
        both = self.features(torch.cat((target, source)))
        return self.flow([maps[: len(target)] for maps in both], [maps[len(target) :] for maps in both])


def move_points(points: Tensor, flow: Tensor, size: int, rounding: bool = False) -> Tensor:
    """Move points by a flow, read bilinearly.

    Args:
        points: (B, K, 2), pixels of the image in which the flow starts; outside it the border's flow is used.
        flow: (B, 2, side, side), in cells.
        size: side of the images in pixels.
        rounding: truncate the points to whole pixels inside the image first, as the public evaluation does.

    Returns:
        (B, K, 2) float32, pixels of the image in which the flow ends.
    """
    start = points.float()
    if rounding:
        start = start.trunc().clamp(0, size - 1)
    return start + sample_points(flow, start, size, size) * (size / flow.shape[-1])
