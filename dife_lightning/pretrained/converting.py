"""Public checkpoints to safetensors with a card beside them, so that a pickle is opened once in its life; and back.

``convert(source, destination)`` tells from the content what ``source`` is. A safetensors file keeps the tensors bit for
bit, under the names of the source (generators: under NVlabs'), and is loaded by the same functions. A trained DIFE of
ours becomes a checkpoint of the authors' layout where the destination ends in ``.pth``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dife_lightning._version import __version__
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.pretrained.embedders import PUBLIC_KINDS, public_state
from dife_lightning.pretrained.generators import KIND, from_public, save_generator
from dife_lightning.utils.files import atomic_write, sha256, write_json
from dife_lightning.weights.checkpoints import write_tensors
from dife_lightning.weights.pickles.reading import explained, read_pickled

Card = dict[str, Any]

#: Tensors that are written may have this many times the bytes of the source (half precision becomes full), and some.
_MOST_TIMES, _MORE = 2, 1_000_000
_MADE_HERE = ("noise_const", "resample_filter")  # which files of generators may lack


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
        ConfigError: the destination has another suffix or is the source, or the source needs no conversion.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    if destination.exists() and source.exists() and destination.samefile(source):
        raise ConfigError(f"{destination} is the source itself; choose another name to write to")
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
    if source.suffix == ".safetensors":
        raise ConfigError(
            f"{source} is safetensors already; give it as it is where a generator or embedder is asked for"
        )
    content = read_pickled(source)
    if isinstance(content, dict) and "hyper_parameters" in content:
        raise ConfigError(f"{source} is a checkpoint of ours, which is loaded as it is; a DIFE is converted to .pth")
    network = from_public(content, source)
    if network is not None:
        state = dict(network.state_dict())
        _check_size({name: value for name, value in state.items() if not name.endswith(_MADE_HERE)}, source)
        save_generator(network, destination, torch.float32)
        return KIND, state, {"architecture": network.architecture.to_dict()}
    with explained(source):
        kind, state = public_state(content, source)
        PUBLIC_KINDS[kind](state, source)  # so that what does not fit is refused now
    _check_size(state, source)
    write_tensors(destination, state, {"kind": kind})
    return kind, state, {}


def _check_size(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse tensors that are views of one storage: as safetensors, each is written for itself."""
    bytes_, most = sum(value.nbytes for value in tensors.values()), _MOST_TIMES * source.stat().st_size + _MORE
    if bytes_ > most:
        text = f"{source} would become {bytes_:,} bytes, more than {most:,} for a file of its size"
        raise CheckpointError(f"{text}: its tensors are views of each other. Save copies of them.")


def _official(source: Path, destination: Path) -> tuple[Path, str, dict[str, Tensor], Card]:
    from dife_lightning.loading import best_checkpoint, load

    path = best_checkpoint(source)
    method: Any = load(path)
    if not hasattr(method, "to_official"):
        raise CheckpointError(f"{path} holds a {type(method).__name__}; the authors' layout is for a DIFE")
    state = method.to_official()
    with atomic_write(destination) as temporary:
        torch.save(state, temporary)
    return path, "official-dife", state, {"domains": json.loads(json.dumps(method.domains)), "size": method.size}
