"""DensePose CSE in plain PyTorch: a dense embedding of the body surface that is common to all species.

References:
    - [0]: Continuous Surface Embeddings, NeurIPS 2020.
    - [1]: Discovering Relationships between Object Categories via Universal Canonical Maps, CVPR 2021.
    - [2]: https://github.com/facebookresearch/detectron2, projects/DensePose.

Parameter names are those of [2], so its checkpoints load unchanged. The detector, the coarse segmentation and the
vertex embeddings of the meshes are left out: the box is the whole image, and only pixel embeddings are computed.
"""

from dife_lightning.nn.cse.architecture import CSEArchitecture, is_cse
from dife_lightning.nn.cse.network import CSENetwork

__all__ = ["CSEArchitecture", "CSENetwork", "is_cse"]
