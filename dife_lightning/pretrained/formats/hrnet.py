"""Public checkpoints of HRNetV2 for landmarks: ``HR18-AFLW.pth`` and its like, and those of Meta-CSKT.

The former are a state dict, alone or as ``state_dict`` of a training; the latter hold two networks, as
``teacher_state_dict`` (Meta-CSKT's base network) and ``student_state_dict`` (its adaptation network, which its authors
evaluate). The sizes are read from the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.nn.hrnet import HRNet, HRNetOptions
from dife_lightning.pretrained.formats.hourglass import state_of
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.notes import note
from dife_lightning.weights.checkpoints import find_weights, network_from
from dife_lightning.weights.pickles.reading import explained, read_pickled
from dife_lightning.weights.shapes import Shapes

#: Which network of a checkpoint of Meta-CSKT is taken.
Role = Literal["adaptation", "base"]
_KEYS = {"adaptation": "student_state_dict", "base": "teacher_state_dict"}
_LAST = "head.3.weight"
_PER_BLOCK = 10  # smallest number of tensors of a residual block


def load_hrnet(name_or_path: str | Path, points: int | None = None, role: Role = "adaptation") -> HRNet:
    """Load a public network, in evaluation mode on the CPU, ready to be trained further.

    Args:
        name_or_path: an ``own/...`` name such as ``own/hr18-aflw``, or a file.
        points: number of landmarks; if the file has another, its head is replaced by an untrained one, and a note says
            so. None for that of the file.
        role: which network of a checkpoint of Meta-CSKT; other files have one.

    Raises:
        AssetError: neither a known name nor a file.
        CheckpointError: the file is damaged or has no HRNet for landmarks; names the first tensor that does not fit.
        ConfigError: ``points`` below 1, or an unknown role.
    """
    require(at_least=1, points=points)
    require_choice("role", role, _KEYS)
    path = find_weights(name_or_path)
    content = read_pickled(path)
    with explained(path):
        network = build(_network_in(content, role, path), path)
    if points is not None and points != network.options.points:
        note(f"{path} finds {network.options.points} points, not {points}: its head is replaced by an untrained one")
        network.replace_head(points)
    return network.eval()


def _network_in(content: Any, role: Role, source: Path) -> dict[str, Tensor]:
    """Return the tensors of one network by their public names."""
    if not isinstance(content, dict) or not any(key in content for key in _KEYS.values()):
        return state_of(content)
    if _KEYS[role] not in content:
        other = next(name for name, key in _KEYS.items() if key in content)
        raise CheckpointError(f"{source} has no {_KEYS[role]}; take its other network with role '{other}'")
    return state_of(content[_KEYS[role]])


def is_hrnet(state: Mapping[str, Tensor]) -> bool:
    """Whether these tensors are an HRNetV2 for landmarks."""
    return "stage4.0.fuse_layers.3.0.0.0.weight" in state and any(name.startswith("head.") for name in state)


def build(state: Mapping[str, Tensor], source: str | Path) -> HRNet:
    """Build the network of ``state`` and load its weights.

    Raises:
        CheckpointError: another network; or names the first tensor that is missing, unexpected or of another shape.
    """
    if not is_hrnet(state):
        found = ", ".join(list(state)[:3]) or "no tensors"
        raise CheckpointError(
            f"{source} is no HRNetV2 for landmarks (no stage4.0.fuse_layers and head of its layout); found {found}."
        )
    shapes = Shapes(state, source, "HRNet")
    return network_from(lambda: HRNet(read_options(shapes)), state, source)


def read_options(shapes: Shapes) -> HRNetOptions:
    """Read the sizes from the shapes of a checkpoint's tensors.

    Raises:
        CheckpointError: a tensor that determines a size is missing or has another number of axes, or parts are named
            that the file does not hold.
    """
    modules = tuple(max(1, shapes.count(f"stage{number}.")) for number in (2, 3, 4))
    blocks = max(1, shapes.count("stage2.0.branches.0."))
    bottlenecks = max(1, shapes.count("layer1."))
    residual = bottlenecks + blocks * sum(count * branches for count, branches in zip(modules, (2, 3, 4), strict=True))
    if _PER_BLOCK * residual > len(shapes.tensors):
        raise CheckpointError(f"{shapes.source} names more blocks than it holds; it is damaged or no HRNet.")
    return HRNetOptions(
        points=shapes.size((_LAST, 0, 4), ("head.3.bias", 0, 1)),
        stem=shapes.size(*(("conv1.weight", 0, 4), ("bn1.weight", 0, 1), ("conv2.weight", 0, 4))),
        bottlenecks=bottlenecks,
        channels=tuple(
            shapes.size(
                *((f"stage4.0.branches.{branch}.0.{layer}.weight", 0, 4) for layer in ("conv1", "conv2")),
                (f"stage4.0.branches.{branch}.0.bn1.weight", 0, 1),
            )
            for branch in range(4)
        ),
        modules=modules,
        blocks=blocks,
    )
