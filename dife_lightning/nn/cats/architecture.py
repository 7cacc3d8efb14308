"""Sizes of a CATs network, given or read from the names and shapes of a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.utils.checks import require
from dife_lightning.weights.shapes import Shapes

#: Pixels of the image per cell of the grid in the public networks.
STRIDE = 16
_BACKBONE = "feature_extraction.backbone."
_PER_BOTTLENECK, _PER_BLOCK = 15, 20  # smallest number of tensors of each


@dataclass(frozen=True)
class CATsArchitecture:
    """Sizes of a CATs network; the defaults are the paper's for SPair-71k.

    Attributes:
        stem: channels of the ResNet's stem.
        blocks: bottlenecks of each stage (one to four); (3, 4, 23, 3) is ResNet-101.
        planes: inner width of the bottlenecks of each stage.
        classes: outputs of the backbone's unused classifier, which public checkpoints have; 0 for none.
        hyperpixels: feature maps that are used: 0 for the stem, k for the k-th bottleneck.
        side: side of the grid of cells that are matched.
        appearance: channels of a cell's appearance at each level.
        depth: number of blocks of the aggregator.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLPs relative to a token's ``side * side + appearance``.
        size: side of the input images in pixels.
        temperature: of the softmax over source cells.
    """

    stem: int = 64
    blocks: tuple[int, ...] = (3, 4, 23, 3)
    planes: tuple[int, ...] = (64, 128, 256, 512)
    classes: int = 0
    hyperpixels: tuple[int, ...] = (0, 8, 20, 21, 26, 28, 29, 30)
    side: int = 16
    appearance: int = 128
    depth: int = 1
    heads: int = 6
    mlp_ratio: float = 4.0
    size: int = 256
    temperature: float = 0.02

    def __post_init__(self) -> None:
        counts = ("stem", "blocks", "planes", "appearance", "depth", "heads", "size")
        require("architecture.", at_least=1, **{name: getattr(self, name) for name in counts})
        require("architecture.", at_least=2, side=self.side)
        require("architecture.", at_least=0, classes=self.classes, hyperpixels=self.hyperpixels)
        require("architecture.", above=0, mlp_ratio=self.mlp_ratio, temperature=self.temperature)


def is_cats(tensors: Mapping[str, Tensor]) -> bool:
    """Whether ``tensors`` are a CATs network in the public layout."""
    return "decoder.pos_embed_x" in tensors and f"{_BACKBONE}conv1.weight" in tensors


def read_architecture(
    tensors: Mapping[str, Tensor],
    hyperpixels: tuple[int, ...] | None = None,
    heads: int | None = None,
    source: str | Path = "the checkpoint",
) -> CATsArchitecture:
    """Read the sizes from the shapes of a checkpoint's tensors; loading checks that all shapes agree.

    Args:
        tensors: name -> tensor, on any device, ``meta`` included.
        hyperpixels: cannot be read from shapes; None for the paper's.
        heads: cannot be read from shapes; None for the paper's.
        source: the file, for error messages.

    Raises:
        CheckpointError: a tensor that determines a size is missing or has another number of axes, or there are not as
            many levels as hyperpixels.
    """
    shapes = Shapes(tensors, source, "CATsNetwork")
    usual = CATsArchitecture()
    blocks = tuple(count for i in (1, 2, 3, 4) if (count := shapes.count(f"{_BACKBONE}layer{i}.")))
    levels, depth = max(1, shapes.count("proj.")), max(1, shapes.count("decoder.blocks."))
    if sum(blocks) * _PER_BOTTLENECK + depth * _PER_BLOCK + 2 * levels > len(tensors):
        raise CheckpointError(f"{source} names more blocks than it holds; it is damaged or no CATs network.")
    hyperpixels = usual.hyperpixels if hyperpixels is None else hyperpixels
    if len(hyperpixels) != levels:
        raise CheckpointError(
            f"{source} has {levels} levels, but {len(hyperpixels)} hyperpixels are named ({list(hyperpixels)}); "
            "put the args.pkl that belongs to it into its folder."
        )
    side, appearance = shapes.size(("x_normal", 0, 1)), shapes.size(("proj.0.weight", 0, 2))
    classifier = f"{_BACKBONE}fc.weight"
    return CATsArchitecture(
        stem=shapes.size((f"{_BACKBONE}conv1.weight", 0, 4)),
        blocks=blocks,
        planes=tuple(shapes.size((f"{_BACKBONE}layer{i + 1}.0.conv1.weight", 0, 4)) for i in range(len(blocks))),
        classes=shapes.size((classifier, 0, 2)) if classifier in tensors else 0,
        hyperpixels=tuple(hyperpixels),
        side=side,
        appearance=appearance,
        depth=depth,
        heads=usual.heads if heads is None else heads,
        mlp_ratio=shapes.size(("decoder.blocks.0.mlp.fc1.weight", 0, 2)) / (side * side + appearance),
        size=STRIDE * side,
    )
