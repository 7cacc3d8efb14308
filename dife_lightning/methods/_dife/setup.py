"""What DIFE does once before it trains: weights of another run, statistics of the generators' features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError
from dife_lightning.pretrained.embedders import Embedder
from dife_lightning.pretrained.formats import hourglass
from dife_lightning.pretrained.generators import Generator
from dife_lightning.pretrained.variation import near_constant, teacher_variation
from dife_lightning.weights.checkpoints import read_tensors
from dife_lightning.weights.pickles.reading import explained, read_pickled

#: Buffers of each domain: mean and deviation of the feature channels, and whether they have been measured.
STATISTICS = ("mean", "deviation", "measured")


def load_fitting_weights(module: nn.Module, path: str) -> None:
    """Copy from another checkpoint the weights of encoder and converters that have the same shape in ``module``.

    Statistics of generator features are not copied: they belong to the generators of that run.

    Args:
        module: a DIFE, with ``domains`` (domain -> n_d).
        path: the checkpoint of another run, or one of the authors' layout, whose domains count in order.

    Raises:
        CheckpointError: there is no such file, or no weight of the encoder fits.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"init_from: no file {path}; give the checkpoint of another run, or an official one")
    tensors = _tensors(module, Path(path))
    learnt = {name for name, _ in module.named_parameters()}
    own = module.state_dict()
    fitting = {k: v for k, v in tensors.items() if k in learnt and own[k].shape == v.shape}
    if not any(k.startswith("encoder.") for k in fitting):
        raise CheckpointError(f"init_from: {path} holds no encoder of this size; found {len(tensors)} tensors")
    module.load_state_dict({**own, **fitting})


def _tensors(module: nn.Module, path: Path) -> dict[str, Tensor]:
    state = hourglass.state_of(read_pickled(path)) if path.suffix in (".pth", ".pt") else read_tensors(path)[0]
    if not hourglass.is_hourglass(state):
        return state
    domains: dict[str, int] = module.domains  # type: ignore[assignment]
    with explained(path):
        return hourglass.to_ours(hourglass.build(state, path), domains, path)


@torch.no_grad()
def feature_statistics(generator: Generator, z: Tensor, layer: int, truncation: float) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (C,) of each channel of ``layer`` over the samples of ``z`` (N, z_dim)."""
    parts = [
        generator.features(generator.map(part.to(generator.device), truncation=truncation), layer)
        for part in z.split(32)
    ]
    features = torch.cat(parts).float()
    return features.mean(dim=(0, 2, 3)), features.std(dim=(0, 2, 3)).clamp(min=1e-6)


def warn_of_constant_teacher(
    teacher: Embedder, generators: Mapping[str, Generator], size: int, truncation: float, seed: int
) -> None:
    """Warn of a surface teacher whose embedding hardly varies over images of ``size`` px of a domain."""
    found = {
        domain: teacher_variation(teacher, generator, domain, size, truncation, seed)
        for domain, generator in generators.items()
    }
    if line := near_constant(teacher.name, found):
        rank_zero_warn(line)


def register_statistics(module: nn.Module, domain: str, channels: int) -> None:
    """Register the buffers :data:`STATISTICS` of a domain with ``channels`` feature channels, not yet measured."""
    module.register_buffer(f"mean_{domain}", torch.zeros(channels))
    module.register_buffer(f"deviation_{domain}", torch.zeros(channels))
    module.register_buffer(f"measured_{domain}", torch.zeros([], dtype=torch.bool))


def flag_statistics(state: dict[str, Tensor], domains: Iterable[str]) -> None:
    """Add to a state dict of version 0.1 the flags that it lacks: there, a deviation of 0 meant "not measured"."""
    for domain in domains:
        if f"deviation_{domain}" in state:
            state.setdefault(f"measured_{domain}", (state[f"deviation_{domain}"] > 0).all())
