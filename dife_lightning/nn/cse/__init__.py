"""DensePose CSE in plain PyTorch: a dense embedding of the body surface, common to all species.

References:
    - [0]: Continuous Surface Embeddings, NeurIPS 2020.
    - [1]: Discovering Relationships between Object Categories via Universal Canonical Maps, CVPR 2021.
    - [2]: https://github.com/facebookresearch/detectron2, projects/DensePose.

Parameter names are those of [2], so that its checkpoints load as they are. Its detector is left out: the caller says
where the body is, and for a face crop that is the whole image.
"""

from dife_lightning.nn.cse.architecture import IGNORED_PREFIXES, CSEArchitecture, is_cse, read_architecture
from dife_lightning.nn.cse.network import CSENetwork
from dife_lightning.nn.cse.roi_align import roi_align_legacy
from dife_lightning.nn.cse.roi_heads import CSEMaps
from dife_lightning.nn.cse.vertices import closest_vertices, squared_distances, unit_embedding

__all__ = [
    "IGNORED_PREFIXES",
    "CSEArchitecture",
    "CSEMaps",
    "CSENetwork",
    "closest_vertices",
    "is_cse",
    "read_architecture",
    "roi_align_legacy",
    "squared_distances",
    "unit_embedding",
]
