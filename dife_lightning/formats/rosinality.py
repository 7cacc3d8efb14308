"""Networks of rosinality's stylegan2-pytorch: ``{"g_ema": state, "latent_avg": ...}``, training snapshots, or a state.

Weights are those of NVlabs' networks without any flip; names, a few axes and the filter's factor of 4 differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.formats.nvlabs import architecture_of
from dife_lightning.nn.stylegan2 import Architecture
from dife_lightning.nn.stylegan2_ops import setup_filter
from dife_lightning.randomness import normal

_NAMES = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
_MARK = "conv1.conv.modulation.weight"


def is_rosinality(content: Any) -> bool:
    """Whether ``content`` of a torch file has this layout."""
    return isinstance(content, dict) and _MARK in _state_of(content)


def _state_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the averaged generator's state, else the generator's, else the content itself."""
    for name in ("g_ema", "g"):
        if isinstance(content.get(name), dict):
            return dict(content[name])
    return content


def generator_of(content: Mapping[str, Any], source: object) -> tuple[Architecture, dict[str, Tensor]]:
    """Return what the generator looks like, and its tensors under our names, fp32.

    ``mapping.w_avg`` is only among them where the file has ``latent_avg``. Files older than stored noise get fixed
    normal noise, as a fresh network of that layout has it.

    Raises:
        CheckpointError: a tensor of no known name, or one that a generator needs is missing.
    """
    tensors: dict[str, Tensor] = {}
    for key, value in _state_of(content).items():
        if isinstance(value, Tensor):
            try:
                _add(tensors, key, value.float(), source)
            except (ValueError, IndexError):
                raise CheckpointError(f"{source}: tensor '{key}' has no place in a StyleGAN2 generator.") from None
    if isinstance(content.get("latent_avg"), Tensor):
        tensors["mapping.w_avg"] = content["latent_avg"].float().flatten()
    architecture = architecture_of(tensors, source)
    return architecture, {**_missing_noise(architecture), **tensors}


def _add(tensors: dict[str, Tensor], key: str, value: Tensor, source: object) -> None:
    """Put one tensor under its name here."""
    first, _, rest = key.partition(".")
    if first == "style":
        index, _, kind = rest.partition(".")
        tensors[f"mapping.fc{int(index) - 1}.{kind}"] = value  # index 0 normalises z and has no weights
    elif first == "input":
        tensors["synthesis.b4.const"] = value[0]
    elif first == "noises":
        number = int(rest.removeprefix("noise_"))
        layer = "conv1" if number == 0 else f"conv{(number - 1) % 2}"
        tensors[f"synthesis.b{value.shape[-1]}.{layer}.noise_const"] = value[0, 0]
    elif rest.endswith("kernel"):
        if not torch.allclose(value, 4 * setup_filter(), atol=1e-5):
            raise CheckpointError(f"{source}: '{key}' is not the filter [1, 3, 3, 1], the only one built here.")
    else:
        _add_layer(tensors, key, value, source)


def _add_layer(tensors: dict[str, Tensor], key: str, value: Tensor, source: object) -> None:
    first, _, rest = key.partition(".")
    number = "0"
    if first in ("convs", "to_rgbs"):
        number, _, rest = rest.partition(".")
    if (
        rest not in _NAMES
        or not number.isdigit()
        or len(number) > 2
        or first not in ("conv1", "to_rgb1", "convs", "to_rgbs")
    ):
        raise CheckpointError(f"{source}: tensor '{key}' has no place in a StyleGAN2 generator.")
    places = {
        "conv1": "b4.conv1",
        "to_rgb1": "b4.torgb",
        "convs": f"b{8 << int(number) // 2}.conv{int(number) % 2}",
        "to_rgbs": f"b{8 << int(number)}.torgb",
    }
    name = _NAMES[rest]
    if name == "weight":
        value = value[0]  # (1, O, I, k, k)
    elif name == "noise_strength":
        value = value.reshape(())
    elif name == "bias":
        value = value.flatten()
    tensors[f"synthesis.{places[first]}.{name}"] = value


def _missing_noise(architecture: Architecture) -> dict[str, Tensor]:
    """Return noise and filters for every layer, which the file's own then replace."""
    found: dict[str, Tensor] = {}
    for side in architecture.resolutions:
        block = f"synthesis.b{side}"
        found[f"{block}.resample_filter"] = setup_filter()
        for layer in ("conv1",) if side == 4 else ("conv0", "conv1"):
            found[f"{block}.{layer}.resample_filter"] = setup_filter()
            found[f"{block}.{layer}.noise_const"] = normal((side, side), 0, "noise", block, layer)
    return found
