"""CATs in plain PyTorch: dense flow between two images from refined correlations.

References:
    - [0]: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021.
    - [1]: https://github.com/SunghwanHong/Cost-Aggregation-transformers

Names and order of the parameters are those of [1], so its checkpoints load unchanged.
"""

from dife_lightning.nn.cats.architecture import CATsArchitecture, is_cats, read_architecture
from dife_lightning.nn.cats.backbone import image_net_normalized
from dife_lightning.nn.cats.network import CATsNetwork, move_points

__all__ = ["CATsArchitecture", "CATsNetwork", "image_net_normalized", "is_cats", "move_points", "read_architecture"]
