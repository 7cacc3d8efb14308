"""Networks of NVlabs' stylegan2-ada-pytorch: a pickle with ``G``, ``D`` and ``G_ema``.

We use the same names and shapes of tensors; the architecture is inferred from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.nn.stylegan2 import Architecture
from dife_lightning.nn.stylegan2_mapping import LR_MULTIPLIER
from dife_lightning.nn.stylegan2_ops import setup_filter
from dife_lightning.weights.checkpoints import as_float32
from dife_lightning.weights.pickles._builders import Persistent
from dife_lightning.weights.shapes import Shapes, TensorAxis

_DEPTH, _COUNT = 12, 10_000  # nesting depth and number of modules; a real network has 4 and about 100
_WIDEST = 16384
#: Blocks of the largest known network: 2048 px.
BLOCKS = 10


def is_nvlabs(content: Any) -> bool:
    """Whether the content of a pickle has this layout."""
    return isinstance(content, dict) and isinstance(content.get("G_ema"), Persistent)


def tensors_of(network: Persistent, source: object) -> dict[str, Tensor]:
    """Return parameters and buffers by their dotted names, as ``state_dict`` would, in fp32."""
    found: dict[str, Tensor] = {}
    for prefix, module in _modules(network, source):
        for part in ("_parameters", "_buffers"):
            for name, value in (module.state.get(part) or {}).items():
                if isinstance(value, Tensor):
                    found[f"{prefix}{name}"] = value
    return as_float32(found)


def _modules(root: Persistent, source: object) -> Iterator[tuple[str, Persistent]]:
    waiting, seen = [("", root)], set[int]()
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen or prefix.count(".") > _DEPTH or len(seen) > _COUNT:
            raise CheckpointError(f"{source}: a module contains itself or is nested too deeply; this is not a network.")
        seen.add(id(module))
        yield prefix, module
        for name, child in (module.state.get("_modules") or {}).items():
            if isinstance(child, Persistent):
                waiting.append((f"{prefix}{name}.", child))


def generator_of(content: Mapping[str, Any], source: object) -> tuple[Architecture, dict[str, Tensor]]:
    """Return the architecture of ``G_ema`` and its tensors; CheckpointError if it is an unsupported variant."""
    network = content["G_ema"]
    tensors = tensors_of(network, source)
    _check_kind(network, tensors, source)
    return read_architecture(tensors, source, _clamp(network, source)), tensors


def read_architecture(tensors: Mapping[str, Tensor], source: object, clamp: float | None = None) -> Architecture:
    """Infer the architecture from the names and shapes of a generator's tensors; see :func:`architecture_of`."""
    shapes = Shapes(tensors, source, "StyleGAN2Generator")
    sides = {name.split(".")[1] for name in tensors if name.startswith("synthesis.b")}
    blocks = max((i + 1 for i in range(BLOCKS) if f"b{4 << i}" in sides), default=1)
    return architecture_of(shapes, blocks, shapes.count("mapping.fc"), clamp)


def architecture_of(shapes: Shapes, blocks: int, layers: int, clamp: float | None = None) -> Architecture:
    """Infer the architecture from the shapes of a generator's tensors with NVlabs' names.

    ``blocks`` is the number of resolutions, ``layers`` that of the mapping network. ``clamp``, the bound of the outputs
    of convolutions, cannot be inferred. CheckpointError names the first tensor that is needed and missing.
    """
    channels = tuple(shapes.size(*_places_of_channels(f"synthesis.b{4 << i}")) for i in range(blocks))
    affine = [name for name in shapes.tensors if name.startswith("synthesis.") and name.endswith(".affine.weight")]
    w_dim = shapes.size(
        *((name, 1, 2) for name in affine or ["synthesis.b4.conv1.affine.weight"]),
        *((f"mapping.fc{i}.bias", 0, 1) for i in range(layers)),
    )
    c_dim = shapes.size(("mapping.embed.weight", 1, 2)) if "mapping.embed.weight" in shapes.tensors else 0
    z_dim = shapes.size(("mapping.fc0.weight", 1, 2)) - (w_dim if c_dim else 0)
    if not 0 < max(*channels, z_dim, w_dim, c_dim) <= _WIDEST or z_dim < 1:
        raise CheckpointError(f"{shapes.source} declares a layer of 0 or more than {_WIDEST} channels: no StyleGAN2.")
    return Architecture(channels, z_dim, w_dim, c_dim, layers, clamp)


def _places_of_channels(block: str) -> tuple[TensorAxis, ...]:
    return (
        (f"{block}.conv1.weight", 0, 4),
        (f"{block}.conv1.weight", 1, 4),
        (f"{block}.conv1.bias", 0, 1),
        (f"{block}.torgb.weight", 1, 4),
        (f"{block}.torgb.affine.bias", 0, 1),
    )


def _check_kind(network: Persistent, tensors: Mapping[str, Tensor], source: object) -> None:
    if any(name.startswith("synthesis.L0_") for name in tensors):
        raise CheckpointError(f"{source} is a StyleGAN3, whose layers cannot be tapped; use a StyleGAN2.")
    for name, module in _modules(network, source):
        kind, activation = module.state.get("architecture"), module.state.get("activation")
        gain = module.state.get("bias_gain", LR_MULTIPLIER)
        if name.startswith("mapping.fc") and gain != LR_MULTIPLIER:
            raise CheckpointError(f"{source} has a mapping network of gain {gain}; only {LR_MULTIPLIER} is supported.")
        if kind not in (None, "skip"):
            raise CheckpointError(f"{source} is of architecture '{kind}'; only 'skip', NVlabs' default, is supported.")
        if activation not in (None, "lrelu", "linear"):
            raise CheckpointError(f"{source} has the activation '{activation}'; only 'lrelu' is supported.")
    usual = setup_filter()
    for name, value in tensors.items():
        is_filter = name.endswith("resample_filter") and value.shape == usual.shape
        if is_filter and not torch.allclose(value, usual, atol=1e-6):
            raise CheckpointError(f"{source}: '{name}' is not the filter [1, 3, 3, 1], the only one supported.")


def _clamp(network: Persistent, source: object) -> float | None:
    values = {module.state.get("conv_clamp") for name, module in _modules(network, source) if name.endswith("conv1.")}
    if len(values) > 1:
        raise CheckpointError(f"{source} bounds its layers differently ({sorted(map(str, values))}).")
    value = values.pop() if values else None
    return None if value is None else float(value)
