"""What a CSE checkpoint says about its network: all sizes follow from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.nn.cse.roi_heads import GROUPS, HeadKind

#: Tensors of public checkpoints that embedding a given box does not need: proposals, boxes and classes of the
#: detector. Older files also hold ``pixel_mean`` and ``pixel_std``, which are read, but are no part of the network.
IGNORED_PREFIXES = (
    "proposal_generator.", "roi_heads.box_head.", "roi_heads.box_predictor.", "pixel_mean", "pixel_std",
)  # fmt: skip

_RESNET = "backbone.bottom_up."
_HEAD = "roi_heads.densepose_head."
_EMBED = "roi_heads.densepose_predictor.embed_lowres.weight"
_SEGMENT = "roi_heads.densepose_predictor.coarse_segm_lowres.weight"
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
    """Tell whether named tensors are those of DensePose CSE (and not of DensePose with charts, or a bare detector)."""
    return _EMBED in tensors and any(key.startswith(_RESNET) for key in tensors)


def read_architecture(tensors: Mapping[str, Tensor], source: str | Path = "the checkpoint") -> CSEArchitecture:
    """Read the sizes from the tensors of a checkpoint, whose values are not looked at.

    Each size is read at one place only; whether all other tensors agree is seen when they are loaded.

    Args:
        tensors: name -> tensor, on any device, ``meta`` among them.
        source: the file, for the text of an error.

    Raises:
        CheckpointError: a tensor that a size follows from is missing or has another number of axes.
    """
    shapes = _Shapes(tensors, source)
    stages = [f"{_RESNET}res{number}." for number in (2, 3, 4, 5)]
    aspp = any(key.startswith(f"{_HEAD}ASPP.") for key in tensors)
    return CSEArchitecture(
        stem=shapes.size(f"{_RESNET}stem.conv1.weight", 0),
        blocks=tuple(shapes.count(stage, f"{stage}0.conv1.weight") for stage in stages),
        planes=tuple(shapes.size(f"{stage}0.conv1.weight", 0) for stage in stages),
        widths=tuple(shapes.size(f"{stage}0.conv3.weight", 0) for stage in stages),
        pyramid=shapes.size("backbone.fpn_lateral2.weight", 0),
        decoder=shapes.size("roi_heads.decoder.p2.0.weight", 0),
        pooled=shapes.size("roi_heads.decoder.predictor.weight", 0),
        head="deeplab" if aspp else "v1convx",
        aspp=shapes.size(f"{_HEAD}ASPP.project.0.weight", 0, GROUPS) if aspp else 0,
        head_width=shapes.size(f"{_HEAD}body_conv_fcn1.weight", 0, GROUPS if aspp else 1),
        head_convs=shapes.count(f"{_HEAD}body_conv_fcn", f"{_HEAD}body_conv_fcn1.weight"),
        dim=shapes.size(_EMBED, 1),
        classes=shapes.size(_SEGMENT, 1),
        meshes={mesh: shapes.mesh(mesh) for mesh in _mesh_names(tensors)},
    )


def _mesh_names(tensors: Collection[str]) -> list[str]:
    """Names of the meshes in the order of the file, without repetition."""
    found = (_MESH.fullmatch(key) for key in tensors)
    return list(dict.fromkeys(match[1] for match in found if match))


class _Shapes:
    """Questions about the shapes of named tensors, with an error of one line where there is no answer."""

    def __init__(self, tensors: Mapping[str, Tensor], source: str | Path) -> None:
        self.tensors, self.source = tensors, source

    def size(self, key: str, axis: int, multiple: int = 1, axes: int = 4) -> int:
        """Return the size of tensor ``key`` along ``axis``; it must have ``axes`` axes."""
        if key not in self.tensors:
            raise CheckpointError(f"{self.source} has no tensor '{key}' ({axes} axes in a DensePose CSE network).")
        shape = tuple(self.tensors[key].shape)
        if len(shape) != axes:
            raise CheckpointError(f"{self.source}: '{key}' is {shape}, CSENetwork expects {axes} axes.")
        if shape[axis] % multiple or not shape[axis]:
            expected = f"{'at least 1' if multiple == 1 else f'a multiple of {multiple}'} along axis {axis}"
            raise CheckpointError(f"{self.source}: '{key}' is {shape}, CSENetwork expects {expected}.")
        return shape[axis]

    def count(self, prefix: str, first: str) -> int:
        """Count the numbers that follow ``prefix``; where one is left out, the last is too many and fails to load."""
        self.size(first, 0)
        numbers = {key[len(prefix) :].partition(".")[0] for key in self.tensors if key.startswith(prefix)}
        return sum(number.isdecimal() for number in numbers)

    def mesh(self, name: str) -> tuple[int, int]:
        """Return (vertices, features) of the mesh ``name``, which ends with its number of vertices."""
        prefix = f"roi_heads.embedder.embedder_{name}."
        rows = self.size(f"{prefix}embeddings", 0, axes=2)
        if f"{prefix}features" not in self.tensors and name.endswith(f"_{rows}"):
            return rows, 0
        return self.size(f"{prefix}features", 0, axes=2), rows
