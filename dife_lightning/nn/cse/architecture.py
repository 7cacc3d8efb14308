"""The sizes of a CSE network, read from the names and shapes of a checkpoint's tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dife_lightning.nn.cse.roi_heads import GROUPS, HeadKind
from dife_lightning.weights.shapes import Shapes, TensorAxis

#: Tensors of public checkpoints that embedding a given box does not need: proposals, boxes and classes of the
#: detector. Older files also hold ``pixel_mean`` and ``pixel_std``, which are read, but are no part of the network.
IGNORED_PREFIXES = (
    "proposal_generator.", "roi_heads.box_head.", "roi_heads.box_predictor.", "pixel_mean", "pixel_std",
)  # fmt: skip

_RESNET = "backbone.bottom_up."
_HEAD = "roi_heads.densepose_head."
_EMBED = "roi_heads.densepose_predictor.embed_lowres"
_SEGMENT = "roi_heads.densepose_predictor.coarse_segm_lowres"
_MESH = re.compile(r"roi_heads\.embedder\.embedder_(\w+)\.(features|embeddings)")

#: Depth of a ResNet by the blocks of its four stages.
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}


@dataclass(frozen=True)
class CSEArchitecture:
    """The sizes of a CSE network.

    Attributes:
        stem: channels of the ResNet's stem.
        blocks: residual blocks of its four stages.
        planes: bottleneck widths of the stages.
        widths: output channels of the stages.
        pyramid: channels of the feature pyramid.
        decoder: channels inside the decoder.
        pooled: channels of the decoder's map, from which boxes are pooled.
        head: ``v1convx`` or ``deeplab``.
        aspp: channels of the DeepLab head's pyramid pooling, 0 for the other head.
        head_width: channels of the head.
        head_convs: convolutions of the head, pyramid pooling apart.
        dim: channels of the embedding.
        classes: classes of the coarse segmentation, the background among them.
        meshes: name -> (vertices, features); 0 features for vertices that are embedded one by one.
    """

    stem: int
    blocks: tuple[int, ...]
    planes: tuple[int, ...]
    widths: tuple[int, ...]
    pyramid: int
    decoder: int
    pooled: int
    head: HeadKind
    aspp: int
    head_width: int
    head_convs: int
    dim: int
    classes: int
    meshes: Mapping[str, tuple[int, int]]

    @property
    def depth(self) -> int | None:
        """50 or 101; None for a ResNet that is neither."""
        return _DEPTHS.get(self.blocks)


def is_cse(tensors: Collection[str]) -> bool:
    """Return whether these are the tensors of DensePose CSE (not of DensePose with charts or of a bare detector)."""
    return f"{_EMBED}.weight" in tensors and any(key.startswith(_RESNET) for key in tensors)


def read_architecture(tensors: Mapping[str, Tensor], source: str | Path = "the checkpoint") -> CSEArchitecture:
    """Read the sizes from the tensors of a checkpoint; their values are not read.

    Sizes are what most tensors say; whether all of them agree is seen when they are loaded.

    Args:
        tensors: name -> tensor, on any device, ``meta`` among them.
        source: the file, for the text of an error.

    Raises:
        CheckpointError: no tensor that tells a size is there with the right number of axes.
    """
    shapes = Shapes(tensors, source, "CSENetwork")
    stages = [f"{_RESNET}res{number}." for number in (2, 3, 4, 5)]
    levels = (2, 3, 4, 5)
    convs = shapes.count(f"{_HEAD}body_conv_fcn", first=1)
    aspp = any(key.startswith(f"{_HEAD}ASPP.") for key in tensors)
    return CSEArchitecture(
        stem=shapes.size(*_filters(f"{_RESNET}stem.conv1")),
        blocks=tuple(max(1, shapes.count(stage)) for stage in stages),
        planes=tuple(shapes.size(*_filters(f"{stage}0.conv1")) for stage in stages),
        widths=tuple(shapes.size(*_filters(f"{stage}0.conv3")) for stage in stages),
        pyramid=shapes.size(*(place for i in levels for place in _filters(f"backbone.fpn_lateral{i}"))),
        decoder=shapes.size(*(place for i in levels for place in _filters(f"roi_heads.decoder.p{i}.0"))),
        pooled=shapes.size(*_filters("roi_heads.decoder.predictor")),
        head="deeplab" if aspp else "v1convx",
        aspp=shapes.size(*_places_of_aspp(), multiple=GROUPS) if aspp else 0,
        head_width=shapes.size(
            *(place for i in range(max(1, convs)) for place in _filters(f"{_HEAD}body_conv_fcn{i + 1}")),
            multiple=GROUPS if aspp else 1,
        ),
        head_convs=convs,
        dim=shapes.size((f"{_EMBED}.weight", 1, 4), (f"{_EMBED}.bias", 0, 1)),
        classes=shapes.size((f"{_SEGMENT}.weight", 1, 4), (f"{_SEGMENT}.bias", 0, 1)),
        meshes={mesh: _mesh(shapes, mesh) for mesh in _mesh_names(tensors)},
    )


def _filters(layer: str) -> tuple[TensorAxis, ...]:
    """Where the number of filters of a convolution stands, or of its norm."""
    norms = ((f"{layer}.norm.{kind}", 0, 1) for kind in ("weight", "bias", "running_mean", "running_var"))
    return (f"{layer}.weight", 0, 4), (f"{layer}.bias", 0, 1), *norms


def _places_of_aspp() -> tuple[TensorAxis, ...]:
    branches = (
        (f"{_HEAD}ASPP.convs.{i}.{2 if i == 4 else 1}.{kind}", 0, 1) for i in range(5) for kind in ("weight", "bias")
    )
    return (f"{_HEAD}ASPP.project.0.weight", 0, 4), *branches


def _mesh_names(tensors: Collection[str]) -> list[str]:
    """Names of the meshes in the order of the file, without repetition."""
    found = (_MESH.fullmatch(key) for key in tensors)
    return list(dict.fromkeys(match[1] for match in found if match))


def _mesh(shapes: Shapes, name: str) -> tuple[int, int]:
    """Return (vertices, features) of the mesh ``name``, which ends with its number of vertices."""
    embeddings, features = (f"roi_heads.embedder.embedder_{name}.{kind}" for kind in ("embeddings", "features"))
    rows = shapes.size((embeddings, 0, 2))
    if features not in shapes.tensors and name.endswith(f"_{rows}"):
        return rows, 0
    return shapes.size((features, 0, 2)), shapes.size((embeddings, 0, 2), (features, 1, 2))
