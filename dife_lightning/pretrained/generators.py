"""Frozen generators, loaded by name, file or run: once per process, and shared.

Supported files: safetensors with the tensor names of NVlabs' stylegan2-ada-pytorch, with ``kind``, ``layout`` and the
``architecture`` (JSON) in the metadata; checkpoints of a training, of which the averaged generator is used; networks
of NVlabs (``.pkl``) and rosinality (``.pt``), see ``formats``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.stylegan2 import Architecture, NoiseMode, StyleGAN2Generator, truncate
from dife_lightning.pretrained.formats import nvlabs, rosinality
from dife_lightning.utils.caching import ObjectCache
from dife_lightning.utils.randomness import normal
from dife_lightning.weights.checkpoints import (
    TORCH_SUFFIXES,
    check_declared,
    find_weights,
    network_from,
    read_tensors,
    write_tensors,
)
from dife_lightning.weights.pickles.reading import explained, read_pickled

KIND = "stylegan2-generator"
_MEAN_SAMPLES = 4096
_LAYOUTS = ((nvlabs.is_nvlabs, nvlabs.generator_of), (rosinality.is_rosinality, rosinality.generator_of))
_loaded: ObjectCache[Generator] = ObjectCache()


class Generator:
    """A frozen generator of one domain.

    It is a plain object, not an ``nn.Module``: a module that has one as an attribute does not save, move or train it,
    and a copy of that module shares it.

    Args:
        network: is frozen and put into eval mode; do not train it elsewhere.
    """

    def __init__(self, network: StyleGAN2Generator) -> None:
        self.network = network.eval().requires_grad_(False)
        self.architecture = network.architecture
        #: Lengths of z and w, number of w vectors (one per layer of the synthesis), side of the images in pixels.
        self.z_dim, self.w_dim = self.architecture.z_dim, self.architecture.w_dim
        self.num_ws, self.resolution = self.architecture.num_ws, self.architecture.resolution
        self._siblings: dict[torch.device, Generator] = {self.device: self}

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        """Return itself: copies of its owner share the frozen generator."""
        return self

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.mean_w.device

    @property
    def mean_w(self) -> Tensor:
        """The mean w (w_dim,), used by truncation."""
        return self.network.mapping.w_avg

    def layer_shape(self, layer: int) -> tuple[int, int]:
        """Return (channels, side) of a tapped layer; layers 1, 3, 5, 7, 9 have 8, 16, 32, 64, 128 px."""
        return self.architecture.layer_shape(layer)

    def to(self, device: str | torch.device, channels_last: bool = True) -> Generator:
        """Return this generator on ``device``: one copy per device is kept, and the original is not moved.

        Half-precision convolutions are several times faster with weights in the memory format ``channels_last``.
        """
        device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        if device not in self._siblings:
            sibling = Generator(copy.deepcopy(self.network).to(device))
            sibling._siblings = self._siblings
            self._siblings[device] = sibling
        format_ = torch.channels_last if channels_last else torch.contiguous_format
        self._siblings[device].network.to(memory_format=format_)  # type: ignore[call-overload]
        return self._siblings[device]

    def map(self, z: Tensor, c: Tensor | None = None, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Map ``z`` (B, z_dim), and one-hot ``c`` (B, c_dim) of a conditional generator, to w (B, num_ws, w_dim).

        ``truncation`` is psi: 1 leaves w unchanged, 0 gives the mean. With ``cutoff``, only the first vectors are
        truncated.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ConfigError(f"z of shape {tuple(z.shape)}: this generator takes (B, {self.z_dim})")
        return self.network.map(z, c, truncation, cutoff)

    def truncate(self, w: Tensor, truncation: float, cutoff: int | None = None) -> Tensor:
        """Pull ``w`` (B, num_ws, w_dim) towards the mean."""
        return truncate(w, self.mean_w, truncation, cutoff)

    def image(self, w: Tensor, noise: NoiseMode = "const") -> Tensor:
        """Return images (B, 3, R, R), fp32, about [-1, 1], of ``w`` (B, num_ws, w_dim) or (B, w_dim)."""
        image, _ = self.network.synthesis(self._ws(w), noise=noise)
        assert image is not None
        return image

    def features(self, w: Tensor, layer: int, noise: NoiseMode = "const") -> Tensor:
        """Return the feature map (B, C, h, w) of ``layer``, differentiable in ``w``; later layers are not computed."""
        _, features = self.network.synthesis(self._ws(w), layer, noise=noise)
        assert features is not None
        return features

    def synthesize(self, w: Tensor, layer: int, noise: NoiseMode = "const") -> tuple[Tensor, Tensor]:
        """Return :meth:`image` and :meth:`features` from one pass."""
        image, features = self.network.synthesis(self._ws(w), tap_layer=layer, noise=noise)
        assert image is not None
        assert features is not None
        return image, features

    def _ws(self, w: Tensor) -> Tensor:
        w = w[:, None].expand(-1, self.num_ws, -1) if w.ndim == 2 else w
        if w.ndim != 3 or w.shape[1:] != (self.num_ws, self.w_dim):
            raise ConfigError(f"w of shape {tuple(w.shape)}: this generator takes (B, {self.num_ws}, {self.w_dim})")
        return w


def load_generator(name_or_path: str | Path) -> Generator:
    """Return a frozen generator on the CPU: the same object each time, unless the file has changed.

    Args:
        name_or_path: a shipped name (``world/human``), a generator file, a network of NVlabs (``.pkl``) or rosinality
            (``.pt``), or the averaged generator of a StyleGAN2 training: its checkpoint, or its run's folder (best
            checkpoint, or the last one if there is no best).

    Raises:
        AssetError: neither a known name nor a file or folder.
        CheckpointError: the file is truncated or has no generator.
    """
    return _loaded.load(find_weights(name_or_path), lambda path: Generator(read_generator(path)).to("cpu"))


def read_generator(path: str | Path) -> StyleGAN2Generator:
    """Read a generator of any known layout as fp32 on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, of an unknown layout, or is an unsafe pickle.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    if path.suffix not in (*TORCH_SUFFIXES, ".pkl"):
        known = ", ".join((".safetensors", ".pkl", *TORCH_SUFFIXES))
        raise CheckpointError(f"{path}: unknown suffix '{path.suffix}', expected one of {known}.")
    if path.suffix == ".ckpt":
        return _averaged_generator(path)
    content = read_pickled(path)
    network = from_public(content, path)
    if network is not None:
        return network
    if isinstance(content, dict) and "hyper_parameters" in content:
        return _averaged_generator(path)
    raise CheckpointError(
        f"{path} has no generator of a known layout (NVlabs' G_ema, rosinality's g_ema, or ours); "
        f"found {_contents(content)}."
    )


def from_public(content: Any, source: Path) -> StyleGAN2Generator | None:
    """Build the generator in the result of :func:`read_pickled`; None if there is none."""
    with explained(source):
        for is_layout, generator_of in _LAYOUTS:
            if is_layout(content):
                return _network(*generator_of(content, source), source)
    return None


def _contents(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return "the keys " + ", ".join(str(key) for key in list(content)[:5])


def _from_safetensors(path: Path) -> StyleGAN2Generator:
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") != KIND or "architecture" not in metadata:
        found = metadata.get("kind", "no kind")
        raise CheckpointError(
            f"{path} is of kind '{found}', expected '{KIND}'. Export one with StyleGAN2.export(path)."
        )
    with explained(path):
        declared = Architecture(**json.loads(metadata["architecture"]))
        found = nvlabs.read_architecture(tensors, path, declared.conv_clamp)
        check_declared(declared.to_dict(), found.to_dict(), path)
        return _network(found, tensors, path)


def _network(architecture: Architecture, tensors: Mapping[str, Tensor], path: Path) -> StyleGAN2Generator:
    mean = {"mapping.w_avg": torch.zeros(architecture.w_dim)}
    network = network_from(lambda: StyleGAN2Generator(architecture), {**mean, **tensors}, path)
    if "mapping.w_avg" not in tensors:
        network.mapping.w_avg.copy_(estimate_mean_w(network))
    return network


def _averaged_generator(path: str | Path) -> StyleGAN2Generator:
    """Return ``generator_ema`` of the checkpoint of a training."""
    from dife_lightning.loading import load  # imports all methods

    method = load(path)
    network = getattr(method, "generator_ema", None)
    if not isinstance(network, StyleGAN2Generator):
        raise CheckpointError(
            f"{path} holds a {type(method).__name__}, which has no generator; give a checkpoint or run of StyleGAN2."
        )
    return network


@torch.no_grad()
def estimate_mean_w(network: StyleGAN2Generator) -> Tensor:
    """Return the mean w (w_dim,) of 4096 fixed latents, over all classes of a conditional network."""
    c_dim = network.architecture.c_dim
    z = normal((_MEAN_SAMPLES, network.architecture.z_dim), 0, "mean w")
    c = torch.eye(c_dim)[torch.arange(_MEAN_SAMPLES) % c_dim] if c_dim else None
    return network.mapping(z, c).mean(0)


def save_generator(network: StyleGAN2Generator, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write ``network`` as safetensors, by default in half precision (a rounding of 5e-4 of each weight)."""
    tensors = {name: value.detach().to(dtype) for name, value in network.state_dict().items()}
    architecture = json.dumps(network.architecture.to_dict())
    write_tensors(path, tensors, {"kind": KIND, "layout": "nvlabs", "architecture": architecture})
