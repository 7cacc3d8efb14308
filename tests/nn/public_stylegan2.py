"""Readers of the reference files, for tests only: two public layouts copied into ours."""

from __future__ import annotations

import io
import pickle
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ROSINALITY = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}


def read_rosinality(path: Path) -> dict[str, Tensor]:
    """Return the generator of rosinality's layout under our names (without resample filters)."""
    content = torch.load(path, weights_only=True)
    state = {"mapping.w_avg": content["latent_avg"]}
    for key, value in content["g_ema"].items():
        first, _, rest = key.partition(".")
        if first == "style":
            index, _, kind = rest.partition(".")
            state[f"mapping.fc{int(index) - 1}.{kind}"] = value
        elif first == "noises":
            index = int(rest.split("_")[1])
            layer = "conv1" if index == 0 else f"conv{(index - 1) % 2}"
            state[f"synthesis.b{value.shape[-1]}.{layer}.noise_const"] = value[0, 0]
        elif first == "input":
            state["synthesis.b4.const"] = value[0]
        elif not rest.endswith("kernel"):
            _add_layer(state, first, rest, value)
    return state


def _add_layer(state: dict[str, Tensor], first: str, rest: str, value: Tensor) -> None:
    if first in ("conv1", "to_rgb1"):
        prefix = "b4.conv1" if first == "conv1" else "b4.torgb"
    else:
        index, _, rest = rest.partition(".")
        number = int(index)
        prefix = f"b{8 << number // 2}.conv{number % 2}" if first == "convs" else f"b{8 << number}.torgb"
    name = _ROSINALITY[rest]
    shapes = {"weight": value[0] if value.ndim == 5 else value, "noise_strength": value.reshape(-1)[0]}
    state[f"synthesis.{prefix}.{name}"] = shapes.get(name, value.flatten() if name == "bias" else value)


class _Network(types.SimpleNamespace):
    """A pickled network without its class: only the state is kept."""

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for part in ("_parameters", "_buffers"):
            found.update({prefix + k: v.detach() for k, v in self.state[part].items() if v is not None})
        for name, module in self.state["_modules"].items():
            found.update(module.tensors(f"{prefix}{name}."))
        return found


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


def _tensor_bytes(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=False)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): lambda meta: _Network(**meta),
            ("dnnlib.util", "EasyDict"): dict,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): _tensor_bytes,
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "dtype"): np.dtype,
        }
        if module.endswith("multiarray") and name == "scalar":
            return np.float64(0).__reduce__()[0]
        return known[module, name]


def read_nvlabs(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of ``G``, ``D`` and ``G_ema``, under NVlabs' names."""
    with path.open("rb") as file:
        content = _Reader(file).load()
    return {name: content[name].tensors() for name in ("G", "D", "G_ema")}
