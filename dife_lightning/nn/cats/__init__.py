"""CATs in plain PyTorch: dense flow between two images of one class, by refined correlations.

References:
    - [0]: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021.
    - [1]: https://github.com/SunghwanHong/Cost-Aggregation-transformers

Parameter names are those of [1], so that its checkpoints load as they are.
"""

from dife_lightning.nn.cats.aggregator import TransformerAggregator
from dife_lightning.nn.cats.architecture import CATsArchitecture, is_cats, read_architecture
from dife_lightning.nn.cats.backbone import HyperpixelFeatures, ResNet, image_net_normalized
from dife_lightning.nn.cats.correlation import correlate, mutual, soft_argmax, to_flow, unit_length
from dife_lightning.nn.cats.network import CATsNetwork, move_points

__all__ = [
    "CATsArchitecture",
    "CATsNetwork",
    "HyperpixelFeatures",
    "ResNet",
    "TransformerAggregator",
    "correlate",
    "image_net_normalized",
    "is_cats",
    "move_points",
    "mutual",
    "read_architecture",
    "soft_argmax",
    "to_flow",
    "unit_length",
]
