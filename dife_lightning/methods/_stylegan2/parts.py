"""Parts of StyleGAN2's training without a trainer: latents, style mixing, running average, loading of weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, DifeError
from dife_lightning.nn.stylegan2 import StyleGAN2Generator
from dife_lightning.pretrained.generators import read_generator
from dife_lightning.weights.checkpoints import find_weights, load_state, read_tensors


def latents(generator: StyleGAN2Generator, count: int, rng: torch.Generator) -> Tensor:
    """Draw z (count, z_dim) on the device of ``rng``."""
    return torch.randn(count, generator.architecture.z_dim, device=rng.device, generator=rng)


def mixed_styles(
    generator: StyleGAN2Generator, count: int, probability: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Map fresh latents to w (count, w_dim) and to ws (count, num_ws, w_dim).

    With ``probability``, an image uses a second latent from a random layer on (style mixing).
    """
    w = generator.mapping(latents(generator, count, rng))
    num_ws = generator.architecture.num_ws
    ws = w[:, None].expand(-1, num_ws, -1)
    if probability > 0:
        other = generator.mapping(latents(generator, count, rng))[:, None]
        cut = 1 + (torch.rand(count, 1, 1, device=rng.device, generator=rng) * (num_ws - 1)).long()
        mixed = torch.rand(count, 1, 1, device=rng.device, generator=rng) < probability
        layer = torch.arange(num_ws, device=rng.device)[None, :, None]
        ws = torch.where(mixed & (layer >= cut), other, ws)
    return w, ws


@torch.no_grad()
def average_into(average: nn.Module, current: nn.Module, weight: float) -> None:
    """Move the parameters of ``average`` by ``weight`` towards those of ``current``; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), weight)
    for mean, value in zip(average.buffers(), current.buffers(), strict=True):
        mean.copy_(value)


def load_networks(method: nn.Module, source: str | Path) -> None:
    """Load ``generator``, ``generator_ema`` and ``discriminator`` of ``method`` from another training or generator.

    Args:
        method: to be loaded into.
        source: a shipped name (``world/dog``), a generator file, a network of NVlabs or rosinality, a checkpoint of
            stylegan2 or its run's folder. All but the last two set both generators and leave the discriminator as it
            is.

    Raises:
        CheckpointError: it does not exist, is damaged, or is of another kind or size.
    """
    try:
        path = find_weights(source)
    except DifeError as error:
        raise CheckpointError(f"init_from: {error}") from None
    for name, state in _states(path).items():
        load_state(method.get_submodule(name), state, source=f"init_from: {source}")


def _states(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return network -> tensors of a checkpoint or generator file."""
    if path.suffix != ".ckpt":
        return dict.fromkeys(("generator", "generator_ema"), read_generator(path).state_dict())
    tensors, _ = read_tensors(path)
    found = {}
    for name in ("generator", "generator_ema", "discriminator"):
        found[name] = {key.removeprefix(f"{name}."): v for key, v in tensors.items() if key.startswith(f"{name}.")}
        if not found[name]:
            raise CheckpointError(
                f"init_from: {path} has no '{name}'; give a checkpoint or run of StyleGAN2, a generator file or a name "
                "of `dife assets`"
            )
    return found
