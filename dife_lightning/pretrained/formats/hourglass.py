"""Public hourglass checkpoints: the authors' DIFE (with or without converters) and DVE.

The official DIFE is a plain state dict: ``hg.*`` is the encoder, ``transformer.interspecies2d{i}_*`` the converter of
the i-th domain of its ``data_type`` (``human+dog``: 0 human, 1 dog). Their key-point script loads encoders without the
prefix ``hg.``. DVE has ``{"arch": ..., "state_dict": ...}``, batch normalisation and an output of half the image's
side. The architecture is inferred from names and shapes, except for the 16 groups of a group normalisation.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.converter import Converter, ConverterKind, Converters
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.weights.checkpoints import network_from
from dife_lightning.weights.shapes import Shapes, TensorAxis

_CONVERTER = re.compile(r"transformer\.interspecies2d(\d{1,2})_(layer\d(?:_norm)?\.\w+)")
_GROUPS = 16


def state_of(content: Any) -> dict[str, Tensor]:
    """Return the tensors of ``state_dict``, or of the content itself, without the prefix ``module.``."""
    named = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {str(k): v for k, v in named.items() if isinstance(v, Tensor)} if isinstance(named, dict) else {}
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def is_hourglass(state: Mapping[str, Tensor]) -> bool:
    """Whether these tensors are an hourglass of DIFE or DVE."""
    return any(f"{prefix}hg.0.layer1_4.0.conv1.weight" in state for prefix in ("", "hg."))


class Hourglass(nn.Module):
    """A public encoder with its converters.

    Attributes:
        dim: channels of the embedding.
        encoder: images (B, 3, H, W) to (B, dim, H, W), or to half the side (DVE).
        converters: one per domain, in the order of the checkpoint; empty for a bare hourglass.
    """

    def __init__(self, encoder: HourglassEncoder, converters: list[Converter]) -> None:
        super().__init__()
        self.encoder, self.converters, self.dim = encoder, nn.ModuleList(converters), encoder.dim

    def embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1], sides multiples of 32, to the embedding, float32, not normalised."""
        return self.encoder(images.float()).float()

    def convert(self, embedding: Tensor, domain_index: int) -> Tensor:
        """Map an embedding (B, dim, h, w) to the generator features (B, n_d, h, w) of the checkpoint's i-th domain.

        Raises:
            ConfigError: the checkpoint has no such domain.
        """
        count = len(self.converters)
        if not isinstance(domain_index, int) or not 0 <= domain_index < count:
            raise ConfigError(f"no domain {domain_index!r}: the checkpoint has {count} converters, counted from 0")
        return self.converters[domain_index](embedding.float())


def build(state: Mapping[str, Tensor], source: str | Path) -> Hourglass:
    """Build the network of ``state`` and load its weights.

    Raises:
        CheckpointError: names the first tensor that is missing, unexpected or of another shape.
    """
    prefix = "hg." if any(name.startswith("hg.hg.") for name in state) else ""
    strange = [k for k in state if not (k.startswith(prefix) or _CONVERTER.fullmatch(k))]
    if strange:
        raise CheckpointError(f"{source}: tensor '{strange[0]}' has no place in an hourglass.")
    tensors = {k.removeprefix(prefix): v for k, v in state.items() if not _CONVERTER.fullmatch(k)}
    shapes = Shapes(tensors, source, "HourglassEncoder", prefix.__add__)
    encoder = network_from(lambda: _encoder(shapes), tensors, source, prefix.__add__)
    return Hourglass(encoder, _converters(state, encoder.dim, source))


def _encoder(shapes: Shapes) -> HourglassEncoder:
    """Return an untrained encoder of these shapes."""
    stacks, blocks = max(1, shapes.count("hg.")), shapes.count("hg.0.layer1_1.")
    depth = shapes.count("hg.0.layer", first=1)
    if 12 * stacks * blocks * (3 * depth + 2) > len(shapes.tensors):  # each block has 12 tensors or more
        raise CheckpointError(f"{shapes.source} names more blocks than it holds; it is damaged or no hourglass.")
    last = 5 if any(name.startswith(f"output_layers.{stacks - 1}.5.") for name in shapes.tensors) else 4
    return HourglassEncoder(
        dim=shapes.size(*_filters(f"output_layers.{stacks - 1}.{last}")),
        planes=(
            shapes.size(*_filters("conv1"), ("bn1.weight", 0, 1), ("bn1.bias", 0, 1)),
            shapes.size(*_filters("layer2.0.conv1"), ("layer2.0.bn2.weight", 0, 1), ("layer2.0.bn2.bias", 0, 1)),
            shapes.size(*_filters("layer3.0.conv1"), ("layer3.0.bn2.weight", 0, 1), ("layer3.0.bn2.bias", 0, 1)),
        ),
        blocks=blocks,
        depth=depth,
        stacks=stacks,
        norm="batch" if "bn1.running_mean" in shapes.tensors else "group",
        groups=_GROUPS,
        keep_size=last == 5,
        scaled_norm_output="normscale" in shapes.tensors,
    )


def _filters(layer: str) -> tuple[TensorAxis, TensorAxis]:
    """Axes whose size is the number of filters of a convolution."""
    return (f"{layer}.weight", 0, 4), (f"{layer}.bias", 0, 1)


def _converters(state: Mapping[str, Tensor], dim: int, source: str | Path) -> list[Converter]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if match := _CONVERTER.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [_converter(found.get(i, {}), i, dim, source) for i in range(max(found, default=-1) + 1)]


def _converter(tensors: Mapping[str, Tensor], index: int, dim: int, source: str | Path) -> Converter:
    called = f"transformer.interspecies2d{index}_".__add__
    shapes = Shapes(tensors, source, "Converter", called)
    last = shapes.size(("layer3.weight", 3, 4), ("layer3.weight", 2, 4))
    kind: ConverterKind = "official" if last == 1 else "paper"
    kernel = shapes.size(*((f"layer{i}.weight", axis, 4) for i in (1, 2) for axis in (3, 2)))
    hidden = shapes.size(*_filters("layer1"), *_filters("layer2"), ("layer1_norm.weight", 0, 1))
    channels = shapes.size(*_filters("layer3"))
    return network_from(lambda: Converter(dim, channels, kind, hidden, _GROUPS, kernel), tensors, source, called)


def to_official(
    encoder: HourglassEncoder, converters: Converters, statistics: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Return the tensors of a DIFE trained here in the authors' layout.

    Domains are numbered in the order of ``converters``. Our converters may output features of mean 0 and deviation 1,
    theirs the generator's own. The ``statistics`` (domain -> mean (n_d,) and deviation (n_d,) by which the features
    were normalised) are therefore folded into the last layer. ConfigError if a group normalisation does not have 16
    groups, which is fixed in their code.
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
    """Return the tensors of an official network under the names of ``DIFE``.

    Its features are the generator's own, so mean 0 and deviation 1 are added: "not normalised". CheckpointError if the
    numbers of domains differ.
    """
    if len(network.converters) not in (0, len(domains)):
        raise CheckpointError(
            f"{source} has converters for {len(network.converters)} domains, the config names {len(domains)} "
            f"({', '.join(domains)}); give as many, in the order of the checkpoint"
        )
    state = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
    for (domain, channels), converter in zip(domains.items(), network.converters, strict=False):
        state |= {f"converters.{domain}.{name}": value for name, value in converter.state_dict().items()}
        state |= {f"mean_{domain}": torch.zeros(channels), f"deviation_{domain}": torch.ones(channels)}
    return state
