"""Read and write tensors; no code from a file is ever executed.

Pickle-based files are read with ``weights_only=True``, and there is no option to turn that off.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, reason_of
from dife_lightning.utils.files import atomic_write
from dife_lightning.utils.run_folder import BEST, CHECKPOINTS, LAST
from dife_lightning.weights.assets import find_asset, list_assets
from dife_lightning.weights.user_paths import user_path

NetworkT = TypeVar("NetworkT", bound=nn.Module)
#: Suffixes of files that torch wrote.
TORCH_SUFFIXES = (".ckpt", ".pt", ".pth")


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the named tensors of a file, on the CPU, and its metadata.

    Args:
        path: ``.safetensors``, or ``.ckpt`` / ``.pt`` / ``.pth`` holding a flat dict of tensors, with or without the
            ``state_dict`` level of a Lightning checkpoint.

    Returns:
        The tensors, and the metadata: strings for safetensors, otherwise the other entries of the checkpoint.

    Raises:
        CheckpointError: the file is missing, truncated or of an unknown kind, or has no tensors.
    """
    path = Path(path)
    if path.suffix in TORCH_SUFFIXES:
        content = read_checkpoint(path)
        named = content.get("state_dict", content)
        tensors = {k: v for k, v in named.items() if isinstance(v, Tensor)} if isinstance(named, dict) else {}
        metadata = {key: value for key, value in content.items() if key != "state_dict" and key not in tensors}
    elif path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    else:
        known = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise CheckpointError(f"{path}: unknown suffix '{path.suffix}', expected one of {known}.")
    if not tensors:
        raise CheckpointError(f"{path} has no named tensors; expected a state_dict.")
    return tensors, metadata


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a whole torch file (a dict) on the CPU, tensors and plain values only.

    Raises:
        CheckpointError: the file is missing, truncated, not written by torch, or has objects other than plain values.
    """
    path = _existing(path)
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says more
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickling_text(path, str(error))) from None
    except Exception as error:  # on damaged files torch raises almost any type
        raise CheckpointError(f"{path} is truncated or no checkpoint ({reason_of(error)}). Copy it again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict of tensors.")
    _check_stored(path, content)
    return content


def best_checkpoint(path: str | Path) -> Path:
    """Return ``path``, or, if it is the folder of a run, its best checkpoint (its last one if there is no best)."""
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        for name in (BEST, LAST):
            if (path / CHECKPOINTS / name).is_file():
                return path / CHECKPOINTS / name
        raise CheckpointError(
            f"{path} has no {CHECKPOINTS}/{BEST} or {LAST}; give a checkpoint file or the folder of a run."
        )
    return path


def find_weights(name_or_path: str | Path, in_folder: Callable[[Path], Path] = best_checkpoint) -> Path:
    """Return the file of a shipped asset, an ``own/...`` name, a path, or a folder.

    A shipped name takes precedence over a folder of that name. ``in_folder`` returns the file of a folder, by default
    the best checkpoint of a run.

    Raises:
        AssetError: neither a known name nor a file or folder.
        CheckpointError: a folder without weights.
    """
    name = str(name_or_path)
    path = user_path(name)
    return in_folder(path) if name not in list_assets() and path.is_dir() else find_asset(name_or_path)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write ``tensors`` as safetensors with string ``metadata``, atomically: an older file is replaced at the end."""
    plain = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(plain, str(temporary), metadata=dict(metadata or {}))


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str | Path = "the checkpoint",
    called: Callable[[str], str] = str,
) -> None:
    """Load ``state`` into ``module``; names and shapes must match exactly.

    A module on the device ``meta`` takes the tensors themselves instead of copies. ``called`` maps our name of a tensor
    to its name in the file ``source``, for error messages.

    CheckpointError names the first tensor that is missing, unexpected or of another shape; the module is then
    unchanged.
    """
    own = module.state_dict()
    check_state(state, own, source, type(module).__name__, called)
    on_meta = any(value.is_meta for value in own.values() if isinstance(value, Tensor))
    module.load_state_dict(dict(state), assign=on_meta)


def network_from(
    build: Callable[[], NetworkT],
    tensors: Mapping[str, Tensor],
    source: str | Path,
    called: Callable[[str], str] = str,
) -> NetworkT:
    """Build a network on the device ``meta`` and load ``tensors`` into it as float32, as :func:`load_state` does.

    So memory is allocated only for tensors of the file.
    """
    with torch.device("meta"):
        network = build()
    load_state(network, as_float32(tensors), source, called)
    return network


def check_state(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    source: object,
    network: str,
    called: Callable[[str], str] = str,
) -> None:
    """Raise CheckpointError for the first tensor of ``state`` that is missing, unexpected or of another shape.

    ``expected`` has the name and the shape of each tensor of ``network``, on any device; see :func:`load_state` for the
    other arguments.
    """
    for key, value in expected.items():
        if key not in state:
            raise CheckpointError(f"{source} has no tensor '{called(key)}' ({_shape(value)} in {network}).")
        if isinstance(value, Tensor) and _shape(state[key]) != _shape(value):
            raise CheckpointError(
                f"{source}: '{called(key)}' is {_shape(state[key])}, {network} expects {_shape(value)}."
            )
        if isinstance(value, Tensor) and value.is_floating_point() and not state[key].is_floating_point():
            raise CheckpointError(f"{source}: '{called(key)}' is of {state[key].dtype}, {network} expects float32.")
    for key, value in state.items():
        if key not in expected:
            raise CheckpointError(f"{source}: tensor '{called(key)}' {_shape(value)} has no place in {network}.")


def check_declared(declared: Mapping[str, Any], found: Mapping[str, Any], source: object) -> None:
    """Raise CheckpointError for the first size whose value in the metadata contradicts the tensors."""
    for name, value in found.items():
        if name in declared and declared[name] != value:
            text = f"{source}: its metadata says {name} {declared[name]}, its tensors {value}"
            raise CheckpointError(f"{text}; the file is damaged or was edited. Export it again.")


def as_float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert floating-point tensors to float32; others, such as counters, stay as they are."""
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(str(_existing(path)), framework="pt", device="cpu") as file:
            # Copies: the originals are memory-mapped, so a change of the file would change them or crash the process.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        reason = reason_of(error)
        raise CheckpointError(f"{path} is truncated or no safetensors file ({reason}). Copy it again.") from None


def _existing(path: str | Path) -> Path:
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, expected a checkpoint file.")
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}. Check the path (runs are in runs/<run>/checkpoints/).")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty (0 bytes). Copy it again.")
    return path


def _check_archive(path: Path) -> None:
    """Refuse a ZIP archive that unpacks to more than its own size; torch writes them uncompressed."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        except zipfile.BadZipFile:
            return  # torch says what is wrong with it
        if unpacked > path.stat().st_size:
            raise CheckpointError(f"{path} unpacks to {unpacked:,} bytes, which torch does not write. Save it again.")


def _check_stored(path: Path, content: dict[str, Any]) -> None:
    """Refuse tensors that would fill more memory than the file stores for them, by repeating values."""
    stored: dict[int, int] = {}
    claimed, seen, todo = 0, set[int](), [content]
    while todo:
        value: Any = todo.pop()
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_meta:
                raise CheckpointError(f"{path} holds a tensor without stored values (sparse or meta). Save it dense.")
            stored[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            claimed += value.numel() * value.element_size()
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            todo.extend(value.values() if isinstance(value, Mapping) else value)
    if claimed > 4 * sum(stored.values()) + 2**20:
        raise CheckpointError(f"{path} has tensors of {claimed:,} bytes but stores {sum(stored.values()):,}.")


def _unpickling_text(path: Path, reason: str) -> str:
    if re.search(r"Unsupported (global|class)|Trying to (call|instantiate)", reason):
        return (
            f"{path} has Python objects, which could run code when loaded; expected tensors and plain values. "
            "If you trust it, convert it to .safetensors elsewhere."
        )
    return f"{path} is truncated or no checkpoint (torch cannot read it). Copy it again."


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
