"""Hourglass checkpoints of others: the authors' DIFE (with its converters or bare) and DVE.

The official DIFE is a plain state: ``hg.*`` is the encoder, ``transformer.interspecies2d{i}_*`` the converter of the
i-th domain of its ``data_type`` (``human+dog``: 0 human, 1 dog). Their key-point script loads encoders without ``hg.``.
DVE has ``{"arch": ..., "state_dict": ...}``, batch normalisation and an output of half the image's side.
What the network looks like is read from names and shapes; only the 16 groups of a group normalisation are not in them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.checkpoints import load_state
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.converter import Converter, ConverterKind, Converters
from dife_lightning.nn.hourglass import HourglassEncoder

_CONVERTER = re.compile(r"transformer\.interspecies2d(\d+)_(layer\d(?:_norm)?\.\w+)")
_GROUPS = 16


def state_of(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint's ``state_dict``, or of the content itself, without ``module.`` in front."""
    named = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {str(k): v for k, v in named.items() if isinstance(v, Tensor)} if isinstance(named, dict) else {}
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def is_hourglass(state: Mapping[str, Tensor]) -> bool:
    """Whether these tensors are an hourglass of DIFE's or DVE's."""
    return any(f"{prefix}hg.0.layer1_4.0.conv1.weight" in state for prefix in ("", "hg."))


class Hourglass(nn.Module):
    """An encoder of the public kind with the converters that came with it.

    Attributes:
        dim: channels of the embedding.
        encoder: images (B, 3, H, W) to (B, dim, H, W), or to half the side (DVE).
        converters: one for each domain, in the checkpoint's order; empty for a bare hourglass.
        shift: (3,) added to the images, for networks that were trained on another normalisation than [-1, 1].
    """

    shift: Tensor

    def __init__(self, encoder: HourglassEncoder, converters: list[Converter], shift: Tensor | None = None) -> None:
        super().__init__()
        self.encoder, self.converters, self.dim = encoder, nn.ModuleList(converters), encoder.dim
        self.register_buffer("shift", torch.zeros(3) if shift is None else shift)

    def embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1], sides multiples of 32, to the embedding, float32, not normalised."""
        return self.encoder(images + self.shift.to(images.dtype)[:, None, None]).float()

    def convert(self, embedding: Tensor, domain_index: int) -> Tensor:
        """Map an embedding (B, dim, h, w) to the generator features (B, n_d, h, w) of the checkpoint's i-th domain.

        Raises:
            ConfigError: the checkpoint has no such domain.
        """
        if not 0 <= domain_index < len(self.converters):
            raise ConfigError(f"no domain {domain_index}: the checkpoint has {len(self.converters)} converters")
        return self.converters[domain_index](embedding)


def build(state: Mapping[str, Tensor], source: str | Path) -> Hourglass:
    """Build the network that ``state`` describes, with its weights.

    Raises:
        CheckpointError: naming the first tensor that is missing, of another shape, or has no place.
    """
    inner = {k.removeprefix("hg."): v for k, v in state.items() if k.startswith("hg.")}
    bare = "hg.conv1.weight" not in state
    tensors = {k: v for k, v in state.items() if not _CONVERTER.fullmatch(k)} if bare else inner
    with torch.device("meta"):  # no memory for what a file merely says
        encoder = _encoder(tensors, source)
    load_state(encoder, _floats(tensors), source)
    strange = [k for k in state if not (bare or k.startswith("hg.") or _CONVERTER.fullmatch(k))]
    if strange:
        raise CheckpointError(f"{source}: tensor '{strange[0]}' has no place in an hourglass.")
    return Hourglass(encoder, _converters(state, encoder.dim, source))


def _floats(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _encoder(tensors: Mapping[str, Tensor], source: str | Path) -> HourglassEncoder:
    """Return the untrained encoder of this shape."""

    def first(name: str) -> int:
        if name not in tensors or tensors[name].ndim == 0:
            raise CheckpointError(f"{source} has no tensor '{name}', which every hourglass of this kind has.")
        return tensors[name].shape[0]

    stacks = 1 + _largest(r"hg\.(\d+)\..*", tensors)
    last = 5 if f"output_layers.{stacks - 1}.5.weight" in tensors else 4
    blocks, depth = 1 + _largest(r"hg\.0\.layer1_1\.(\d+)\..*", tensors), _largest(r"hg\.0\.layer(\d+)_1\..*", tensors)
    if 12 * stacks * blocks * (3 * depth + 2) > len(tensors):  # each block has 12 tensors or more
        raise CheckpointError(f"{source} names more blocks than it holds; it is damaged or no hourglass.")
    return HourglassEncoder(
        dim=first(f"output_layers.{stacks - 1}.{last}.weight"),
        planes=(first("conv1.weight"), first("layer2.0.conv1.weight"), first("layer3.0.conv1.weight")),
        blocks=blocks,
        depth=depth,
        stacks=stacks,
        norm="batch" if "bn1.running_mean" in tensors else "group",
        groups=_GROUPS,
        keep_size=last == 5,
        scaled_norm_output="normscale" in tensors,
    )


def _largest(pattern: str, names: Mapping[str, Any]) -> int:
    """Return the largest number that the pattern's group takes, at most 64; 0 if there is none."""
    found = [int(match[1]) for name in names if (match := re.fullmatch(pattern, name)) and len(match[1]) < 3]
    return min(max(found, default=0), 64)


def _converters(state: Mapping[str, Tensor], dim: int, source: str | Path) -> list[Converter]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if match := _CONVERTER.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    converters = []
    for place, index in enumerate(sorted(found)):
        tensors = found[index]
        if index != place or any(f"layer{i}.weight" not in tensors for i in (1, 2, 3)):
            raise CheckpointError(f"{source}: the converter of domain {place} is not complete.")
        first, third = tensors["layer1.weight"].shape, tensors["layer3.weight"].shape
        kind: ConverterKind = "official" if third[-1] == 1 else "paper"
        with torch.device("meta"):
            converter = Converter(dim, third[0], kind, first[0], _GROUPS, first[-1])
        load_state(converter, _floats(tensors), f"{source}, domain {index}")
        converters.append(converter)
    return converters


def to_official(
    encoder: HourglassEncoder, converters: Converters, statistics: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Return a DIFE of ours as the authors' code has it.

    Our converters may give features of mean 0 and deviation 1; theirs give the generator's own, so mean and deviation
    go into the last layer.

    Args:
        encoder: Φ.
        converters: Ψ of each domain, in the order that the numbers of the official names shall have.
        statistics: domain -> mean (n_d,) and deviation (n_d,) that the features were normalised by.

    Raises:
        ConfigError: group normalisations of other than 16 groups, which their code has fixed.
    """
    groups = {m.num_groups for part in (encoder, converters) for m in part.modules() if isinstance(m, nn.GroupNorm)}
    if groups != {_GROUPS}:
        raise ConfigError(f"the authors' layout has group normalisations of {_GROUPS} groups, this DIFE of {groups}")
    state = OrderedDict((f"hg.{name}", value.detach().clone()) for name, value in encoder.state_dict().items())
    for index, (domain, converter) in enumerate(converters.items()):
        mean, deviation = statistics[domain]
        for name, value in converter.state_dict().items():
            new = value.detach().clone()
            if name == "layer3.weight":
                new = new * deviation[:, None, None, None]
            elif name == "layer3.bias":
                new = new * deviation + mean
            state[f"transformer.interspecies2d{index}_{name}"] = new
    return state


def to_ours(network: Hourglass, domains: Mapping[str, int], source: str | Path) -> dict[str, Tensor]:
    """Return an official network's tensors under the names of :class:`~dife_lightning.methods.dife.DIFE`.

    Features are then the generator's own: mean 0 and deviation 1 stand for "not normalised".

    Raises:
        CheckpointError: another number of domains than the checkpoint has.
    """
    if len(network.converters) not in (0, len(domains)):
        raise CheckpointError(
            f"{source} has converters for {len(network.converters)} domains, the config names {len(domains)} "
            f"({', '.join(domains)}); give as many, in the checkpoint's order"
        )
    state = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
    for (domain, channels), converter in zip(domains.items(), network.converters, strict=False):
        state |= {f"converters.{domain}.{name}": value for name, value in converter.state_dict().items()}
        state |= {f"mean_{domain}": torch.zeros(channels), f"deviation_{domain}": torch.ones(channels)}
    return state
