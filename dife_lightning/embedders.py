"""Embedders as frozen holders: anything with ``embed(images) -> embedding``.

A holder is a plain object, not a module: a method that keeps one neither trains it, nor copies it, nor saves it.
Holders are cached, so that one process loads a file once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.assets import find_asset, list_assets
from dife_lightning.checkpoints import TORCH_SUFFIXES, load_state, read_tensors
from dife_lightning.errors import CheckpointError
from dife_lightning.nn.surface import SurfaceNet

_CACHE: dict[str, Embedder] = {}


class Embedder:
    """A frozen network with ``embed``; use :func:`load_embedder` to get one.

    Attributes:
        name: what it was asked for by.
        dim: channels of the embedding, if the network says so.
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
        """Where the weights are."""
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


def load_embedder(name_or_path: str | Path) -> Embedder:
    """Load a frozen embedder by name or file, once per process.

    Args:
        name_or_path: a shipped name (``world/teacher``), a safetensors file of ours, or a checkpoint of a trained
            method that embeds (DIFE, for example).

    Raises:
        AssetError: neither a known name nor a file.
        CheckpointError: the file is damaged or holds something that cannot embed.
    """
    key = str(name_or_path)
    if key not in list_assets():
        key = str(Path(key).expanduser().resolve())
    if key not in _CACHE:
        _CACHE[key] = Embedder(_build(str(name_or_path)), str(name_or_path))
    return _CACHE[key]


def _build(name_or_path: str) -> nn.Module:
    if Path(name_or_path).expanduser().is_dir() or name_or_path.endswith(TORCH_SUFFIXES):
        from dife_lightning.loading import load  # a trained method; the registry is only needed here

        method = load(name_or_path)
        if not hasattr(method, "embed"):
            raise CheckpointError(f"{name_or_path} holds a {type(method).__name__}, which has no embed(images)")
        return method
    path = find_asset(name_or_path)
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") != "surface-teacher":
        found = metadata.get("kind", "no 'kind' in its metadata")
        raise CheckpointError(f"{path} is no embedder (found {found}, expected surface-teacher or a trained method)")
    network = SurfaceNet(**json.loads(metadata["architecture"]))
    load_state(network, {k: v.float() for k, v in tensors.items()}, source=path)
    return network
