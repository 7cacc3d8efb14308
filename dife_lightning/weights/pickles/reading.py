"""Read untrusted pickles safely: only tensors, arrays and plain values; no code is ever executed.

A pickle may name any function and have it called. This reader knows a short table of names, each of which stands for a
function of ours that checks its arguments. A file that names anything else is refused, with that name in the error.
Declared sizes of tensors, storages and arrays are compared with the bytes in the file before memory is allocated.

Three containers are supported: plain pickles (NVlabs' and detectron2's ``.pkl``), torch's ZIP archives, and torch's
older format of consecutive pickles (``.pt``, ``.pth``).
"""

from __future__ import annotations

import io
import mmap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from dife_lightning.errors import AssetError, CheckpointError, ConfigError, reason_of
from dife_lightning.weights.pickles._builders import STORAGES, Persistent, PickledArray, Refused
from dife_lightning.weights.pickles._unpickler import Unpickler

LoadStorage = Callable[[Any], Tensor]
_MAGIC = 0x1950A86A20F9469CFC6C  # of torch's older format
_ZIP = b"PK\x03\x04"  # how an archive starts


def read_pickled(path: str | Path) -> Any:
    """Read a plain pickle, or a file that ``torch.save`` wrote, on the CPU.

    Returns:
        Dicts (of argparse's namespaces, too), lists, numbers and strings as stored; tensors and arrays as tensors;
        objects pickled by NVlabs' ``persistence`` as :class:`~dife_lightning.weights.pickles._builders.Persistent`.

    Raises:
        CheckpointError: the file is missing, truncated or of an unknown container, names a function that is not
            allowed, or declares more data than it has.
    """
    path = Path(path)
    with explained(path), path.open("rb") as file:
        if path.stat().st_size == 0:
            raise Refused("is empty (0 bytes). Copy it again.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            size = len(content)
            zipped = _ZIP.startswith(content[: len(_ZIP)])
            return _plain(_read_zip(file, size) if zipped else _read_stream(content, size, _load_storage), size)


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn any error in reading ``path``, or in building what it describes, into one line."""
    try:
        yield
    except Refused as error:
        raise CheckpointError(f"{path} {error}") from None
    except FileNotFoundError:
        raise CheckpointError(f"no file {path}. Check the path.") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder, expected a file.") from None
    except PermissionError as error:
        raise CheckpointError(
            f"{path} cannot be read ({(error.strerror or 'refused').lower()}). Change its rights."
        ) from None
    except (CheckpointError, AssetError):
        raise
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    # on hostile or damaged pickles the unpickler raises almost any type
    except Exception as error:
        text = f"{path} is truncated, damaged or no checkpoint of a known kind ({reason_of(error)})"
        raise CheckpointError(f"{text}. Copy it again.") from None


def _described(pid: Any) -> tuple[torch.dtype, str, int, Any]:
    """Return dtype, key, number of elements and view of torch's reference to a storage."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
        raise Refused("has a reference that is not from torch.")
    _, kind, key, _, count, *view = pid
    if type(kind) is not str or kind not in STORAGES or type(key) is not str or type(count) is not int or count < 0:
        raise Refused("declares a storage of a type that torch does not have.")
    return STORAGES[kind], key, count, view[0] if view else None


def _read_zip(file: BinaryIO, size: int) -> Any:
    """Read the archive that ``torch.save`` writes since version 1.6."""
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        if sum(info.file_size for info in archive.infolist()) > size:
            raise Refused("has entries that are together larger than the file.")
        roots = [name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(roots) != 1:
            raise Refused("is a ZIP archive, but not from torch (it has no data.pkl).")
        if f"{roots[0]}byteorder" in entries and _entry(archive, entries, f"{roots[0]}byteorder", size) != b"little":
            raise Refused("was written on a big-endian machine; write it again on a little-endian one.")
        known: dict[str, Tensor] = {}

        def storage(pid: Any) -> Tensor:
            dtype, key, count, view = _described(pid)
            if key not in known:
                known[key] = _filled(_entry(archive, entries, f"{roots[0]}data/{key}", size), dtype)
            if view is not None or known[key].dtype != dtype or len(known[key]) < count:
                raise Refused(f"declares {count} elements of {dtype} for storage {key}, which has {len(known[key])}.")
            return known[key]

        pickled = io.BytesIO(_entry(archive, entries, f"{roots[0]}data.pkl", size))
        return Unpickler(pickled, size, storage, _load_storage).load()


def _entry(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str, size: int) -> bytes:
    """Return the bytes of an entry; torch stores entries uncompressed, so none is larger than the file."""
    if name not in entries:
        raise Refused(f"is truncated or damaged (no entry {name}). Copy it again.")
    info = entries[name]
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise Refused(f"has a compressed or oversized entry {name}, which torch does not write.")
    return archive.read(info)


def _filled(content: bytes, dtype: torch.dtype) -> Tensor:
    """Copy ``content`` into a new tensor."""
    whole = len(content) // dtype.itemsize * dtype.itemsize
    return torch.frombuffer(bytearray(content[:whole]), dtype=dtype) if whole else torch.empty(0, dtype=dtype)


def _read_stream(content: Any, size: int, nested: LoadStorage | None) -> Any:
    """Read a plain pickle, or torch's older format if it starts with that format's number."""
    first = Unpickler(content, size, None, nested).load()
    return _read_legacy(content, size, nested) if type(first) is int and first == _MAGIC else first


def _read_legacy(content: Any, size: int, nested: LoadStorage | None) -> Any:
    """Read on after the magic number: version, system, object, keys, then the bytes of each storage."""
    version, _system = (Unpickler(content, size, None, nested).load() for _ in range(2))
    if type(version) is not int or version != 1001:
        raise Refused("is in torch's older format, but not of version 1001.")
    bases: dict[str, Tensor] = {}
    total = 0

    def storage(pid: Any) -> Tensor:
        nonlocal total
        dtype, key, count, view = _described(pid)
        if key not in bases:
            total += count * dtype.itemsize
            if total > size:
                raise Refused(
                    f"is truncated, or declares {count} elements of {dtype} for storage {key}, more than it has."
                )
            bases[key] = torch.empty(count, dtype=dtype)
        if bases[key].dtype != dtype:
            raise Refused(f"declares storage {key} twice, as {bases[key].dtype} and as {dtype}.")
        return bases[key] if view is None else _view(bases[key], view)

    found = Unpickler(content, size, storage, nested).load()
    keys = Unpickler(content, size, None, nested).load()
    for key in keys if type(keys) is list else []:
        base = bases.get(key) if type(key) is str else None
        count = content.read(8)
        if base is None or count != len(base).to_bytes(8, "little"):
            raise Refused(f"is truncated or damaged (storage {key!r}). Copy it again.")
        data = content.read(base.nbytes)
        if len(data) != base.nbytes:
            raise Refused("is truncated. Copy it again.")
        base.copy_(_filled(data, base.dtype))
        del bases[key]
    if bases:
        raise Refused("is truncated (storages without data). Copy it again.")
    return found


def _view(base: Tensor, view: Any) -> Tensor:
    _, offset, count = view
    if not (type(offset) is int and type(count) is int and 0 <= offset <= offset + count <= len(base)):
        raise Refused("declares a view outside its storage.")
    return base[offset : offset + count]


def _load_storage(content: Any) -> Tensor:
    """Read a storage that was pickled by itself, as in NVlabs' networks; it may not hold another one."""
    if not isinstance(content, bytes):
        raise Refused("has a storage that is not bytes.")
    found = _read_stream(io.BytesIO(content), len(content), None)
    if not isinstance(found, Tensor):
        raise Refused("has an invalid storage.")
    return found


def _plain(root: Any, size: int) -> Any:
    """Replace pickled arrays by tensors, in place, visiting each container once.

    A file whose tensors together, shared storages counted repeatedly, are far larger than it is refused.
    """
    holder = [root]
    waiting: list[Any] = [holder]
    seen = {id(holder)}
    tuples: dict[int, tuple[Any, Any]] = {}  # the old one is kept, so that its id is not given away
    left = 8 * size + 1_000_000

    def plain(value: Any) -> Any:
        nonlocal left
        if isinstance(value, PickledArray):
            value = value.value()
        if isinstance(value, Tensor):
            left -= value.numel() * value.element_size()
            if left < 0:
                raise Refused("declares far more numbers than it has.")
        if isinstance(value, tuple):
            if id(value) not in tuples:
                tuples[id(value)] = value, tuple(plain(part) for part in value)
            return tuples[id(value)][1]
        inner = value.state if isinstance(value, Persistent) else value
        if isinstance(inner, dict | list) and id(inner) not in seen:
            seen.add(id(inner))
            waiting.append(inner)
        return value

    while waiting:
        container = waiting.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            container[key] = plain(container[key])
    return holder[0]
