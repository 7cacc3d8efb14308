"""Public checkpoints to safetensors with a card beside them, so that a pickle is opened once in its life; and back.

``convert(source, destination)`` tells from the content what ``source`` is. A safetensors file keeps the tensors bit for
bit, under the names of the source (generators: under NVlabs'), and is loaded by the same functions. A trained DIFE of
ours becomes a checkpoint of the authors' layout where the destination ends in ``.pth``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dife_lightning import __version__
from dife_lightning.checkpoints import write_tensors
from dife_lightning.embedders import PUBLIC_KINDS, public_state
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.files import atomic_write, sha256, write_json
from dife_lightning.generators import from_public, save_generator
from dife_lightning.unpickling import explained, read_pickled

Card = dict[str, Any]


def convert(source: str | Path, destination: str | Path) -> Card:
    """Write ``source`` in another form, and what it is into ``<destination>.json``.

    Args:
        source: a public checkpoint (``.pkl``, ``.pt``, ``.pth``) for a destination in ``.safetensors``; a checkpoint or
            run of a DIFE of ours for a destination in ``.pth``.
        destination: the file to write; an older one is replaced only when the new one is whole.

    Returns:
        The card: ``kind``, ``source`` (name, bytes, sha256), ``tensors``, ``values`` (their numbers), ``version`` of
        this package and, for a generator, its ``architecture``.

    Raises:
        CheckpointError: the source cannot be read, or is of no known layout.
        ConfigError: the destination has another suffix.
    """
    source, destination = Path(source), Path(destination)
    if destination.suffix == ".pth":
        path, kind, tensors, more = _official(source, destination)
    elif destination.suffix == ".safetensors":
        path, kind, tensors, more = source, *_safetensors(source, destination)
    else:
        raise ConfigError(
            f"{destination}: expected .safetensors (for a public checkpoint) or .pth (for a DIFE of ours, in the "
            "authors' layout)"
        )
    card: Card = {"kind": kind, "source": {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}}
    card |= {
        "tensors": len(tensors),
        "values": sum(t.numel() for t in tensors.values()),
        "version": __version__,
        **more,
    }
    write_json(destination.with_suffix(destination.suffix + ".json"), card)
    return card


def _safetensors(source: Path, destination: Path) -> tuple[str, dict[str, Tensor], Card]:
    content = read_pickled(source)
    network = from_public(content, source)
    if network is not None:
        save_generator(network, destination, torch.float32)
        architecture = network.architecture.to_dict()
        return "stylegan2-generator", dict(network.state_dict()), {"architecture": architecture}
    with explained(source):
        kind, state = public_state(content, source)
        PUBLIC_KINDS[kind](state, source)  # so that what does not fit is refused now
    write_tensors(destination, state, {"kind": kind})
    return kind, state, {}


def _official(source: Path, destination: Path) -> tuple[Path, str, dict[str, Tensor], Card]:
    from dife_lightning.loading import best_checkpoint, load

    path = best_checkpoint(source)
    method = load(path)
    if not hasattr(method, "to_official"):
        raise CheckpointError(f"{path} holds a {type(method).__name__}; the authors' layout is for a DIFE")
    state = method.to_official()
    with atomic_write(destination) as temporary:
        torch.save(state, temporary)
    return path, "official-dife", state, {"domains": json.loads(json.dumps(method.domains)), "size": method.size}
