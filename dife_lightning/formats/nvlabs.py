"""Networks of NVlabs' stylegan2-ada-pytorch: a pickle with ``G``, ``D`` and ``G_ema``.

Names and shapes of the tensors are ours already; what the network looks like is read from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dife_lightning._pickled import Persistent
from dife_lightning.errors import CheckpointError
from dife_lightning.nn.stylegan2 import Architecture
from dife_lightning.nn.stylegan2_ops import setup_filter

_DEPTH, _COUNT = 12, 10_000  # modules in modules, and modules in all; a real network has 4 and about 100
_BLOCKS, _LARGEST = 10, 2048  # px
_WIDEST = 16384


def is_nvlabs(content: Any) -> bool:
    """Whether ``content`` of a pickle has this layout."""
    return isinstance(content, dict) and isinstance(content.get("G_ema"), Persistent)


def tensors_of(network: Persistent, source: object) -> dict[str, Tensor]:
    """Return parameters and buffers by their dotted names, as ``state_dict`` would, in fp32.

    Raises:
        CheckpointError: the object is no module.
    """
    found: dict[str, Tensor] = {}
    for prefix, module in _modules(network, source):
        for part in ("_parameters", "_buffers"):
            for name, value in (module.state.get(part) or {}).items():
                if isinstance(value, Tensor):
                    found[f"{prefix}{name}"] = value.float()
    return found


def _modules(root: Persistent, source: object) -> Iterator[tuple[str, Persistent]]:
    waiting, count, seen = [("", root)], 0, set()
    while waiting:
        prefix, module = waiting.pop()
        yield prefix, module
        count += 1
        if id(module) in seen:
            raise CheckpointError(f"{source}: modules in modules without an end; this is no network.")
        seen.add(id(module))
        if prefix.count(".") > _DEPTH or count > _COUNT:
            raise CheckpointError(f"{source}: modules in modules without an end; this is no network.")
        for name, child in (module.state.get("_modules") or {}).items():
            if isinstance(child, Persistent):
                waiting.append((f"{prefix}{name}.", child))


def generator_of(content: Mapping[str, Any], source: object) -> tuple[Architecture, dict[str, Tensor]]:
    """Return what ``G_ema`` looks like, and its tensors.

    Raises:
        CheckpointError: it is no StyleGAN2 generator, or one of a kind that is not built here.
    """
    network = content["G_ema"]
    tensors = tensors_of(network, source)
    _check_kind(network, tensors, source)
    return architecture_of(tensors, source, _clamp(network, source)), tensors


def architecture_of(tensors: Mapping[str, Tensor], source: object, clamp: float | None = None) -> Architecture:
    """Read the architecture from the shapes of a generator's tensors under NVlabs' names.

    Raises:
        CheckpointError: naming the first tensor that a StyleGAN2 generator has and this file has not.
    """
    shape = _Shapes(tensors, source)
    channels: list[int] = []
    blocks = {name.split(".")[1] for name in tensors if name.startswith("synthesis.b")}
    while not channels or f"b{4 << len(channels)}" in blocks:
        channels.append(shape(f"synthesis.b{4 << len(channels)}.conv1.weight")[0])
    if len(channels) > _BLOCKS:
        raise CheckpointError(f"{source} claims {4 << len(channels) - 1} px; no StyleGAN2 has more than {_LARGEST}.")
    layers = sum(1 for name in tensors if name.startswith("mapping.fc") and name.endswith(".weight"))
    w_dim = shape("synthesis.b4.conv1.affine.weight")[1]
    c_dim = shape("mapping.embed.weight")[1] if "mapping.embed.weight" in tensors else 0
    z_dim = shape("mapping.fc0.weight")[1] - (w_dim if c_dim else 0)
    if not 0 < max(*channels, z_dim, w_dim, c_dim) <= _WIDEST:
        raise CheckpointError(f"{source} declares layers wider than {_WIDEST}, so it is no StyleGAN2 generator.")
    return Architecture(tuple(channels), z_dim, w_dim, c_dim, layers, clamp)


class _Shapes:
    """Shapes by name, with an error that says what is missing."""

    def __init__(self, tensors: Mapping[str, Tensor], source: object) -> None:
        self.tensors, self.source = tensors, source

    def __call__(self, name: str) -> torch.Size:
        if name not in self.tensors or self.tensors[name].ndim < 2:
            raise CheckpointError(f"{self.source} has no tensor '{name}', so it is no StyleGAN2 generator.")
        return self.tensors[name].shape


def _check_kind(network: Persistent, tensors: Mapping[str, Tensor], source: object) -> None:
    if any(name.startswith("synthesis.L0_") for name in tensors):
        raise CheckpointError(f"{source} is a StyleGAN3, whose layers cannot be tapped here; give a StyleGAN2.")
    for _, module in _modules(network, source):
        kind, activation = module.state.get("architecture"), module.state.get("activation")
        if kind not in (None, "skip"):
            raise CheckpointError(f"{source} is of architecture '{kind}'; only 'skip', NVlabs' default, is built here.")
        if activation not in (None, "lrelu", "linear"):
            raise CheckpointError(f"{source} has the activation '{activation}'; only 'lrelu' is built here.")
    for name, value in tensors.items():
        if name.endswith("resample_filter") and not torch.allclose(value, setup_filter(), atol=1e-6):
            raise CheckpointError(f"{source}: '{name}' is not the filter [1, 3, 3, 1], the only one built here.")


def _clamp(network: Persistent, source: object) -> float | None:
    values = {module.state.get("conv_clamp") for name, module in _modules(network, source) if name.endswith("conv1.")}
    if len(values) > 1:
        raise CheckpointError(f"{source} bounds its layers differently ({sorted(map(str, values))}).")
    value = values.pop() if values else None
    return None if value is None else float(value)
