"""Networks of rosinality's stylegan2-pytorch: ``{"g_ema": state, "latent_avg": ...}``, training snapshots, or a state.

Weights equal those of NVlabs' networks; names, axes of length 1 and a factor of 4 in the filter differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.nn.stylegan2_ops import setup_filter
from dife_lightning.pretrained.formats.nvlabs import BLOCKS, architecture_of
from dife_lightning.utils.randomness import normal
from dife_lightning.weights.checkpoints import as_float32, check_state
from dife_lightning.weights.shapes import Shapes

#: Tensors of a layer and of an RGB output: their name -> our name, and their axes of length 1 before and after ours.
_MODULATED = {
    "conv.weight": ("weight", 1, 0),
    "conv.modulation.weight": ("affine.weight", 0, 0),
    "conv.modulation.bias": ("affine.bias", 0, 0),
}
_LAYER = {**_MODULATED, "noise.weight": ("noise_strength", 1, 0), "activate.bias": ("bias", 0, 0)}
_RGB = {**_MODULATED, "bias": ("bias", 1, 2)}
_MARK = "conv1.conv.modulation.weight"
_MEAN = "latent_avg"

_Entry = tuple[str, str, int, int]  # their name, our name, axes of length 1 before, after


def is_rosinality(content: Any) -> bool:
    """Whether the content of a torch file has this layout."""
    return isinstance(content, dict) and _MARK in _state_of(content)


def _state_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the averaged generator, of the generator, or the content itself, whichever exists first."""
    for name in ("g_ema", "g"):
        if isinstance(content.get(name), dict):
            return dict(content[name])
    return content


def generator_of(content: Mapping[str, Any], source: object) -> tuple[Architecture, dict[str, Tensor]]:
    """Return the architecture of the generator and its tensors under our names, fp32.

    ``mapping.w_avg`` is included only if the file has ``latent_avg``. Old files without noise get fixed normal noise.

    Raises:
        CheckpointError: gives the file's name of the first tensor that is missing, unexpected or of another shape.
    """
    tensors = {str(name): value for name, value in _state_of(content).items() if isinstance(value, Tensor)}
    state = as_float32(tensors)
    if isinstance(content.get(_MEAN), Tensor):
        state[_MEAN] = content[_MEAN].float().flatten()
    numbers = Shapes(state, source, "StyleGAN2Generator")
    layers, blocks = numbers.count("style.", first=1), min(1 + (numbers.count("convs.") + 1) // 2, BLOCKS)
    entries = list(_entries(state, layers, blocks))
    known = {ours: _without(state[theirs], before) for theirs, ours, before, _ in entries if theirs in state}
    called = {ours: theirs for theirs, ours, _, _ in entries}
    shapes_of_ours = Shapes(known, source, "StyleGAN2Generator", lambda name: called.get(name, name))
    architecture = architecture_of(shapes_of_ours, blocks, layers)
    with torch.device("meta"):
        shapes = StyleGAN2Generator(architecture).state_dict()
    kernels = _check_kernels(state, architecture, source)
    expected = {
        theirs: shapes[ours].reshape((1,) * before + shapes[ours].shape + (1,) * behind)
        for theirs, ours, before, behind in entries
    }
    check_state({k: v for k, v in state.items() if k not in kernels}, expected, source, "StyleGAN2Generator")
    own = {ours: state[theirs].reshape(shapes[ours].shape) for theirs, ours, _, _ in entries}
    return architecture, {**_fixed(architecture), **own}


def _entries(state: Mapping[str, Tensor], layers: int, blocks: int) -> Iterator[_Entry]:
    """Yield the tensors of a network with ``layers`` mapping layers; noise and mean only if ``state`` has them."""
    for i in range(layers):
        yield from ((f"style.{i + 1}.{kind}", f"mapping.fc{i}.{kind}", 0, 0) for kind in ("weight", "bias"))
    if _MEAN in state:
        yield _MEAN, "mapping.w_avg", 0, 0
    yield "input.input", "synthesis.b4.const", 1, 0
    noises = any(name.startswith("noises.") for name in state)
    for i in range(2 * blocks - 1):  # conv1, convs.0, convs.1, ...
        layer = f"synthesis.b{4 << (i + 1) // 2}.conv{(i + 1) % 2}"
        yield from _part("conv1" if i == 0 else f"convs.{i - 1}", layer, _LAYER)
        if noises:
            yield f"noises.noise_{i}", f"{layer}.noise_const", 2, 0
        if i % 2 == 0:
            yield from _part("to_rgb1" if i == 0 else f"to_rgbs.{i // 2 - 1}", f"synthesis.b{4 << i // 2}.torgb", _RGB)


def _part(theirs: str, ours: str, table: Mapping[str, tuple[str, int, int]]) -> Iterator[_Entry]:
    for name, (own, before, behind) in table.items():
        yield f"{theirs}.{name}", f"{ours}.{own}", before, behind


def _without(value: Tensor, axes: int) -> Tensor:
    """Drop the first ``axes`` axes of ``value`` if their length is 1."""
    return value.reshape(value.shape[axes:]) if value.shape[:axes] == (1,) * axes else value


def _check_kernels(state: Mapping[str, Tensor], architecture: Architecture, source: object) -> set[str]:
    """Return the names of the resampling filters; our network builds its own."""
    pairs = range(len(architecture.channels) - 1)
    names = {f"convs.{2 * i}.conv.blur.kernel" for i in pairs} | {f"to_rgbs.{i}.upsample.kernel" for i in pairs}
    found = {name: state[name] for name in state if name in names}
    check_state(found, dict.fromkeys(found, setup_filter()), source, "StyleGAN2Generator")
    for name, value in found.items():
        if not torch.allclose(value, 4 * setup_filter(), atol=1e-5):
            raise CheckpointError(f"{source}: '{name}' is not the filter [1, 3, 3, 1], the only one supported.")
    return set(found)


def _fixed(architecture: Architecture) -> dict[str, Tensor]:
    """Return the filters, and default noise for every layer."""
    found: dict[str, Tensor] = {}
    for side in architecture.resolutions:
        block = f"synthesis.b{side}"
        found[f"{block}.resample_filter"] = setup_filter()
        for layer in ("conv1",) if side == 4 else ("conv0", "conv1"):
            found[f"{block}.{layer}.resample_filter"] = setup_filter()
            found[f"{block}.{layer}.noise_const"] = normal((side, side), 0, "noise", block, layer)
    return found
