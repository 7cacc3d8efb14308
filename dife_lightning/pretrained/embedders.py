"""Frozen embedders: anything with ``embed(images) -> embedding``.

An embedder is a plain object, not a module: a method that has one does not train, copy or save it. Each file is loaded
once per process (see ``utils.caching``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.cse import CSENetwork, is_cse
from dife_lightning.nn.surface import SurfaceNet
from dife_lightning.pretrained import backbones
from dife_lightning.pretrained.formats import hourglass
from dife_lightning.utils.caching import ObjectCache
from dife_lightning.weights.checkpoints import check_declared, find_weights, network_from, read_tensors
from dife_lightning.weights.pickles.reading import explained, read_pickled
from dife_lightning.weights.shapes import Shapes

_LARGEST_SIDE = 1024  # to which a surface teacher may resize images
_loaded: ObjectCache[nn.Module] = ObjectCache()


class Embedder:
    """A frozen network with ``embed``; use :func:`load_embedder` to get one.

    Attributes:
        name: the name or path that it was loaded by.
        dim: channels of the embedding, if known.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        self.name = name
        self.module = module.eval().requires_grad_(False)
        self.dim: int | None = getattr(module, "dim", None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Embedder:
        """Return itself: copies of a method share their frozen parts."""
        return self

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.module.parameters()).device

    def to(self, device: torch.device | str) -> Embedder:
        """Move the weights; returns itself."""
        self.module.to(device)
        return self

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Embed ``images`` (B, 3, H, W) in [-1, 1]; returns (B, n, h, w) without an autograd graph."""
        embed = getattr(self.module, "embed", self.module)
        return embed(images.to(self.device))

    @torch.no_grad()
    def convert(self, embedding: Tensor, domain: int | str) -> Tensor:
        """Map an embedding (B, n, h, w) to the generator features (B, n_d, h, w) of a domain.

        ``domain`` is its number for an official DIFE; its name or number for one trained here. ConfigError if this
        embedder has no converters, or no such domain.
        """
        convert: Any = getattr(self.module, "convert", None)
        if convert is None:
            raise ConfigError(f"{self.name} has no converters: only DIFE maps embeddings to generator features")
        names = list(getattr(self.module, "domains", ()))
        if isinstance(domain, int) and names:
            if not 0 <= domain < len(names):
                raise ConfigError(f"no domain {domain}: {self.name} has {', '.join(names)}, counted from 0")
            domain = names[domain]
        return convert(embedding.to(self.device), domain)


class EmbeddedOnce:
    """An ``embed`` that keeps the embeddings of images that it has seen, batch by batch, as long as there is room.

    Args:
        embed: maps images (B, 3, H, W) to embeddings (B, n, h, w).
        room: bytes that are kept at most.
    """

    def __init__(self, embed: Callable[[Tensor], Tensor], room: int = 2**31) -> None:
        self._embed, self._room = embed, room
        self._kept: dict[bytes, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Return the embeddings of images on the CPU; images that are equal have the same one."""
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images.contiguous()]
        new = {key: number for number, key in enumerate(keys) if key not in self._kept}
        if not new:
            return torch.stack([self._kept[key] for key in keys])
        batch = self._embed(images[list(new.values())])
        keep = batch.nbytes <= self._room
        made = dict(zip(new, batch.clone() if keep else batch, strict=True))  # one block of memory, not one an image
        found = torch.stack([made[key] if key in made else self._kept[key] for key in keys])
        if keep:
            self._room -= batch.nbytes
            self._kept |= made
        return found


def load_embedder(name_or_path: str | Path) -> Embedder:
    """Load a frozen embedder by name or file; its network is loaded once per process unless the file has changed.

    Args:
        name_or_path: one of
            a shipped name (``world/teacher``) or a safetensors file written by this package;
            a checkpoint or run of a trained method that embeds, such as DIFE;
            an official DIFE (with converters or a bare hourglass), a DVE, or a DensePose CSE of detectron2 (``.pkl`` or
            ``.pth``);
            a vision network of ``transformers`` (``backbone:facebook/dinov2-small?layer=9``, see ``backbones``).

    Raises:
        AssetError: neither a known name nor a file or folder.
        CheckpointError: the file is damaged or has no embedder.
    """
    if str(name_or_path).startswith(backbones.PREFIX):
        name = str(name_or_path)
        return Embedder(_loaded.get(name, backbones.state_of(name), lambda: backbones.load_backbone(name)), name)
    return Embedder(_loaded.load(find_weights(name_or_path), _build), str(name_or_path))


def _build(path: Path) -> nn.Module:
    if path.suffix == ".ckpt":
        return _trained(path)
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    content = read_pickled(path)
    if isinstance(content, dict) and "hyper_parameters" in content:
        return _trained(path)
    with explained(path):
        kind, state = public_state(content, path)
        return PUBLIC_KINDS[kind](state, path)


def public_state(content: Any, source: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the kind (a key of ``PUBLIC_KINDS``) and the tensors of the ``content`` of a public embedder's checkpoint.

    CheckpointError if there is no embedder of a known layout.
    """
    state = hourglass.state_of(content)
    if hourglass.is_hourglass(state):
        return "hourglass", state
    model = hourglass.state_of(content["model"]) if isinstance(content, dict) and "model" in content else state
    if is_cse(model):
        return "cse", model
    found = ", ".join(list(state)[:3]) or f"a {type(content).__name__} without tensors"
    raise CheckpointError(
        f"{source} is no embedder of a known layout (official DIFE, DVE, DensePose CSE, or ours); found {found}."
    )


def _trained(path: Path) -> nn.Module:
    from dife_lightning.loading import load  # imports all methods

    method: nn.Module = load(path)
    if not hasattr(method, "embed"):
        raise CheckpointError(f"{path} holds a {type(method).__name__}, which has no embed(images)")
    return method


def _surface_teacher(tensors: dict[str, Tensor], architecture: str, path: Path) -> nn.Module:
    shapes, declared = Shapes(tensors, path, "SurfaceNet"), json.loads(architecture)
    found = {
        "dim": shapes.size(("head.weight", 0, 4), ("head.bias", 0, 1)),
        "width": shapes.size(("stem.weight", 0, 4), ("stem.bias", 0, 1), ("whole.bias", 0, 1)),
        "blocks": shapes.count("blocks."),
    }
    check_declared(declared, found, path)
    side = declared["side"]
    if type(side) is not int or not 1 <= side <= _LARGEST_SIDE:
        raise CheckpointError(f"{path}: its metadata says side {side}, expected 1 to {_LARGEST_SIDE} px.")
    return network_from(lambda: SurfaceNet(**found, side=side), tensors, path)


def _from_safetensors(path: Path) -> nn.Module:
    tensors, metadata = read_tensors(path)
    kind = metadata.get("kind", "no 'kind' in its metadata")
    if kind in PUBLIC_KINDS:
        with explained(path):
            return PUBLIC_KINDS[kind](tensors, path)
    if kind != "surface-teacher":
        known = ", ".join(("surface-teacher", *PUBLIC_KINDS))
        raise CheckpointError(f"{path} is no embedder (found {kind}, expected {known} or a trained method)")
    with explained(path):
        return _surface_teacher(tensors, metadata["architecture"], path)


#: Kind of a public checkpoint -> function that builds the network from the tensors (and names the file in errors).
PUBLIC_KINDS: dict[str, Callable[[dict[str, Tensor], Path], nn.Module]] = {
    "hourglass": hourglass.build,
    "cse": lambda tensors, path: CSENetwork.from_tensors(tensors, source=path),
}
