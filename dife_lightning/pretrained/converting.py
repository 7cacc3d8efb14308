"""Convert public checkpoints to safetensors, without executing code; or a DIFE to the authors' layout.

``convert(source, destination)`` detects the kind of ``source`` from its content and writes a description beside the
result. The tensors are bit for bit the same, with the names of the source (generators: the names of NVlabs), and the
same functions load them. If the destination ends in ``.pth``, a DIFE trained here is written in the authors' layout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dife_lightning._version import __version__
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.pretrained.embedders import PUBLIC_KINDS, public_state
from dife_lightning.pretrained.generators import KIND, from_public, save_generator
from dife_lightning.utils.files import atomic_buffer, sha256, write_json
from dife_lightning.weights.checkpoints import write_tensors
from dife_lightning.weights.pickles.reading import explained, read_pickled

Card = dict[str, Any]

#: The result may have at most this many times the bytes of the source (half precision becomes full), plus some.
_MOST_TIMES, _MORE = 2, 1_000_000
_MADE_HERE = ("noise_const", "resample_filter")  # files of generators may lack these


def convert(source: str | Path, destination: str | Path) -> Card:
    """Write ``source`` in another format, and its description into ``<destination>.json``.

    Args:
        source: a public checkpoint (``.pkl``, ``.pt``, ``.pth``) if the destination ends in ``.safetensors``; a
            checkpoint or run of a DIFE trained here if it ends in ``.pth``.
        destination: the file to write, atomically.

    Returns:
        The description: ``kind``, ``source`` (name, bytes, sha256), number of ``tensors`` and ``values``, ``version``
        of this package and, for a generator, its ``architecture``.

    Raises:
        CheckpointError: the source cannot be read or has an unknown layout.
        ConfigError: the destination has another suffix or is the source, or the source needs no conversion.
    """
    source, destination = Path(os.path.expanduser(source)), Path(os.path.expanduser(destination))
    if destination.exists() and source.exists() and destination.samefile(source):
        raise ConfigError(f"{destination} is the source itself; choose another destination")
    if destination.suffix == ".pth":
        path, kind, tensors, more = _official(source, destination)
    elif destination.suffix == ".safetensors":
        path, kind, tensors, more = source, *_safetensors(source, destination)
    else:
        raise ConfigError(
            f"{destination}: expected .safetensors (for a public checkpoint) or .pth (a DIFE trained here, in the "
            "authors' layout)"
        )
    card: Card = {
        "kind": kind,
        "source": {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)},
        "tensors": len(tensors),
        "values": sum(t.numel() for t in tensors.values()),
        "version": __version__,
        **more,
    }
    write_json(destination.with_suffix(destination.suffix + ".json"), card)
    return card


def _safetensors(source: Path, destination: Path) -> tuple[str, dict[str, Tensor], Card]:
    if source.suffix == ".safetensors":
        raise ConfigError(f"{source} is safetensors already; use it directly as a generator or embedder")
    content = read_pickled(source)
    if isinstance(content, dict) and "hyper_parameters" in content:
        raise ConfigError(f"{source} was trained here and needs no conversion; only a DIFE can be converted, to .pth")
    network = from_public(content, source)
    if network is not None:
        state = dict(network.state_dict())
        _check_size({name: value for name, value in state.items() if not name.endswith(_MADE_HERE)}, source)
        save_generator(network, destination, torch.float32)
        return KIND, state, {"architecture": network.architecture.to_dict()}
    with explained(source):
        kind, state = public_state(content, source)
        PUBLIC_KINDS[kind](state, source)  # raises if a tensor does not fit
    _check_size(state, source)
    write_tensors(destination, state, {"kind": kind})
    return kind, state, {}


def _check_size(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse tensors that are views of one storage, because safetensors writes each of them in full."""
    bytes_, most = sum(value.nbytes for value in tensors.values()), _MOST_TIMES * source.stat().st_size + _MORE
    if bytes_ > most:
        text = f"{source} would become {bytes_:,} bytes, more than the {most:,} expected for its size"
        raise CheckpointError(f"{text}: its tensors are views of each other. Save copies of them.")


def _official(source: Path, destination: Path) -> tuple[Path, str, dict[str, Tensor], Card]:
    from dife_lightning.loading import best_checkpoint, load

    path = best_checkpoint(source)
    method: Any = load(path)
    if not hasattr(method, "to_official"):
        raise CheckpointError(f"{path} holds a {type(method).__name__}; the authors' layout is for a DIFE")
    state = method.to_official()
    with atomic_buffer(destination) as buffer:
        torch.save(state, buffer)
    return path, "official-dife", state, {"domains": json.loads(json.dumps(method.domains)), "size": method.size}
