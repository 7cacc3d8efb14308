"""Sizes of a CSE network, read from the names and shapes of a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dife_lightning.nn.cse.roi_heads import GROUPS, HeadKind
from dife_lightning.weights.shapes import Shapes, TensorAxis

#: Tensors of public checkpoints that are not part of the network: the detector, the coarse segmentation, the vertex
#: embeddings of the meshes, and (in older files) the pixel statistics, which are read separately.
IGNORED_PREFIXES = (
    "proposal_generator.", "roi_heads.box_head.", "roi_heads.box_predictor.", "roi_heads.embedder.",
    "roi_heads.densepose_predictor.coarse_segm_lowres.", "pixel_mean", "pixel_std",
)  # fmt: skip

_RESNET = "backbone.bottom_up."
_HEAD = "roi_heads.densepose_head."
_EMBED = "roi_heads.densepose_predictor.embed_lowres"


@dataclass(frozen=True)
class CSEArchitecture:
    """Sizes of a CSE network.

    Attributes:
        stem: channels of the ResNet's stem.
        blocks: residual blocks of its four stages.
        planes: bottleneck widths of the stages.
        widths: output channels of the stages.
        pyramid: channels of the feature pyramid.
        decoder: channels inside the decoder.
        pooled: channels of the decoder's output map, from which boxes are pooled.
        head: ``v1convx`` or ``deeplab``.
        aspp: channels of the DeepLab head's pyramid pooling; 0 for ``v1convx``.
        head_width: channels of the head.
        head_convs: convolutions of the head, without pyramid pooling.
        dim: channels of the embedding.
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


def is_cse(tensors: Collection[str]) -> bool:
    """Whether ``tensors`` belong to DensePose CSE, and not to chart-based DensePose or a plain detector."""
    return f"{_EMBED}.weight" in tensors and any(key.startswith(_RESNET) for key in tensors)


def read_architecture(tensors: Mapping[str, Tensor], source: str | Path = "the checkpoint") -> CSEArchitecture:
    """Infer the sizes from the shapes of a checkpoint's tensors; where shapes disagree, the majority decides.

    Args:
        tensors: name -> tensor, on any device, ``meta`` included.
        source: the file, for error messages.

    Raises:
        CheckpointError: a size cannot be inferred because its tensors are missing or have a wrong number of axes.
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
    )


def _filters(layer: str) -> tuple[TensorAxis, ...]:
    """Axes whose size is the number of filters of a convolution ``layer``: its own and those of its norm."""
    norms = ((f"{layer}.norm.{kind}", 0, 1) for kind in ("weight", "bias", "running_mean", "running_var"))
    return (f"{layer}.weight", 0, 4), (f"{layer}.bias", 0, 1), *norms


def _places_of_aspp() -> tuple[TensorAxis, ...]:
    branches = (
        (f"{_HEAD}ASPP.convs.{i}.{2 if i == 4 else 1}.{kind}", 0, 1) for i in range(5) for kind in ("weight", "bias")
    )
    return (f"{_HEAD}ASPP.project.0.weight", 0, 4), *branches
