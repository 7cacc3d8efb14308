"""One reader for files that others pickled: tensors, arrays and plain values come out, and no code ever runs.

A pickle may name any function and have it called. This reader knows a short table of names, each standing for a
harmless builder of its own that checks its arguments; a file that asks for anything else is refused by that name. What
is declared (shapes, storages, arrays) is compared with the bytes that are really there before memory is taken.

Three containers are read: plain pickles (NVlabs' and detectron2's ``.pkl``), torch's ZIP archives and torch's older
format of consecutive pickles (``.pt``, ``.pth``).
"""

from __future__ import annotations

import io
import mmap
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from dife_lightning._pickled import (
    BUILDERS,
    STORAGES,
    Array,
    Attributes,
    Builder,
    Dtype,
    Namespace,
    Persistent,
    Refused,
    Scalar,
)
from dife_lightning.errors import AssetError, CheckpointError, ConfigError

_MAGIC = 0x1950A86A20F9469CFC6C  # of torch's older format
_MOST_NODES = 5_000_000  # containers in one file; a real one has thousands


def read_pickled(path: str | Path) -> Any:
    """Read a plain pickle, or a file that ``torch.save`` wrote, on the CPU.

    Returns:
        Dicts (of argparse's namespaces, too), lists, numbers and strings as stored; tensors and arrays as tensors;
        objects pickled by NVlabs' ``persistence`` as :class:`~dife_lightning._pickled.Persistent`.

    Raises:
        CheckpointError: missing, truncated, of no known container, asking for anything but data, or declaring more
            data than there is.
    """
    path = Path(path)
    with explained(path), path.open("rb") as file:
        if zipfile.is_zipfile(file):
            return _plain(_read_zip(file, path.stat().st_size), path.stat().st_size)
        if path.stat().st_size == 0:
            raise Refused("is empty (0 bytes). Copy it again.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _plain(_read_stream(content, len(content)), len(content))


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn whatever goes wrong in reading ``path``, or in building what it describes, into one line."""
    try:
        yield
    except Refused as error:
        raise CheckpointError(f"{path} {error}") from None
    except FileNotFoundError:
        raise CheckpointError(f"no file {path}. Check the path.") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder, expected a file.") from None
    except (CheckpointError, AssetError):
        raise
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    # a hostile or damaged pickle can make the machine that reads it fail in about every way
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or no checkpoint of a known kind ({reason}). Copy it again."
        ) from None


class _Unpickler(pickle._Unpickler):
    """Calls builders of our own table alone; ``storage`` answers torch's references to storages.

    It is the loader that Python has in Python: the one in C takes memory for whatever index a file memorises a value
    under. The content of tensors is read as fast by either. Opcodes that would hash, change or call what a file made
    are replaced: only dicts, lists and our own objects are filled, keys are plain, sets are lists.

    Args:
        file: with ``read`` and ``readline``.
        size: bytes of the file; what builders copy is bounded by it.
        storage: reference to a storage -> its numbers.
        inner: a storage within a pickle, which holds no further one.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    #: Of the base class, which says nothing of them.
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(
        self, file: Any, size: int, storage: Callable[[Any], Tensor] | None = None, *, inner: bool = False
    ) -> None:
        super().__init__(file, encoding="latin1")
        self.storage, self.inner = storage, inner
        self.left = 8 * size + 1_000_000

    def find_class(self, module: str, name: str) -> Any:
        known = BUILDERS.get((module, name))
        if known is None or (self.inner and name == "_load_from_bytes"):
            asked = f"{module}.{name}"[:200]
            raise Refused(f"asks for {asked}, which is no data and could run code; it was not run. {_hint(module)}")
        return known

    def persistent_load(self, pid: Any) -> Tensor:
        if self.storage is None:
            raise Refused("holds references to data that is not in it.")
        return self.storage(pid)

    def charge(self, value: Any) -> None:
        """Count what a builder may copy against the size of the file."""
        if isinstance(value, bytes | bytearray | str):
            self.left -= len(value)
        elif isinstance(value, dict | list | tuple):
            self.left -= 100 * len(value)
        if self.left < 0:
            raise Refused("has more made of its data than a checkpoint needs.")

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        builder = self.stack[-1]
        if type(arguments) is not tuple or not (isinstance(builder, Builder) or builder is Attributes):
            raise Refused("calls what cannot be called.")
        for value in arguments:
            self.charge(value)
        self.stack[-1] = _attributes(*arguments) if builder is Attributes else builder(*arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        if not any(self.stack[-1] is kind for kind in (Attributes, Namespace)) or arguments != ():
            raise Refused("makes an object that is no data.")
        self.stack[-1] = self.stack[-1]()

    def load_inst(self) -> None:
        module, name = (self.readline()[:-1].decode("latin1") for _ in range(2))
        self.find_class(module, name)
        self.refuse()

    def load_build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) not in (Attributes, Namespace, Array, Dtype):
            raise Refused("changes an object that is no data.")
        if type(self.stack[-1]) is Namespace:
            self.charge(state)
        self.stack[-1].__setstate__(state)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _fill(self.stack[-1], items)

    def load_dict(self) -> None:
        items, found = self.pop_mark(), {}  # type: ignore[var-annotated]
        _fill(found, items)
        self.stack.append(found)

    def load_append(self) -> None:
        value = self.stack.pop()
        _extend(self.stack[-1], [value])

    def load_appends(self) -> None:
        items = self.pop_mark()
        _extend(self.stack[-1], items)

    def load_set(self) -> None:
        self.stack.append([])

    def load_frozen(self) -> None:
        self.stack.append(self.pop_mark())

    def load_bytes(self) -> None:
        count = int.from_bytes(self.read(8), "little")
        content = self.read(count)
        if len(content) != count:
            raise Refused("is truncated. Copy it again.")
        self.stack.append(bytearray(content))

    def refuse(self) -> None:
        raise Refused("makes an object that is no data.")


for _opcode, _function in {
    pickle.REDUCE: _Unpickler.load_reduce,
    pickle.NEWOBJ: _Unpickler.load_newobj,
    pickle.INST: _Unpickler.load_inst,
    pickle.BUILD: _Unpickler.load_build,
    pickle.SETITEM: _Unpickler.load_setitem,
    pickle.SETITEMS: _Unpickler.load_setitems,
    pickle.DICT: _Unpickler.load_dict,
    pickle.APPEND: _Unpickler.load_append,
    pickle.APPENDS: _Unpickler.load_appends,
    pickle.EMPTY_SET: _Unpickler.load_set,
    pickle.ADDITEMS: _Unpickler.load_appends,
    pickle.FROZENSET: _Unpickler.load_frozen,
    pickle.BYTEARRAY8: _Unpickler.load_bytes,
    **dict.fromkeys(
        (pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEXT_BUFFER), _Unpickler.refuse
    ),
}.items():
    _Unpickler.dispatch[_opcode[0]] = _function


def _fill(target: Any, items: list[Any]) -> None:
    """Put keys and values, in turn, into a dict; keys are plain, so that hashing them takes no time."""
    if not isinstance(target, dict) or len(items) % 2:
        raise Refused("fills an object that is no dict.")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes, int, float, bool, type(None)) or (type(key) is int and abs(key) >= 1 << 60):
            raise Refused("holds a dict whose keys are no names or numbers.")
        target[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise Refused("fills an object that is no list.")
    target.extend(items)


def _attributes(pairs: Any = (), *rest: Any) -> Attributes:
    """Make an OrderedDict or EasyDict of a dict, or of pairs."""
    found = Attributes()
    if rest or not isinstance(pairs, dict | list | tuple):
        raise Refused("makes a dict of what is none.")
    several = pairs.items() if isinstance(pairs, dict) else pairs
    for pair in several:
        if type(pair) not in (tuple, list) or len(pair) != 2:
            raise Refused("makes a dict of what is none.")
        _fill(found, list(pair))
    return found


def _hint(module: str) -> str:
    if module.startswith("dnnlib.tflib"):
        return "It is a TensorFlow network: convert it with legacy.py of stylegan2-ada-pytorch."
    return "Use a file that holds tensors and plain values only."


def _described(pid: Any) -> tuple[torch.dtype, str, int, Any]:
    """Return dtype, key, number of elements and view of torch's reference to a storage."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
        raise Refused("holds a reference that is not torch's.")
    _, kind, key, _, count, *view = pid
    if type(kind) is not str or kind not in STORAGES or type(key) is not str or type(count) is not int or count < 0:
        raise Refused("describes a storage that torch does not have.")
    return STORAGES[kind], key, count, view[0] if view else None


def _read_zip(file: BinaryIO, size: int) -> Any:
    """Read the archive that ``torch.save`` writes since version 1.6."""
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        if sum(info.file_size for info in archive.infolist()) > size:
            raise Refused("has entries that are larger together than the file.")
        roots = [name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(roots) != 1:
            raise Refused("is a ZIP archive, but not one of torch (it has no data.pkl).")
        if f"{roots[0]}byteorder" in entries and _entry(archive, entries, f"{roots[0]}byteorder", size) != b"little":
            raise Refused("was written on a big-endian machine; write it again on a little-endian one.")
        known: dict[str, Tensor] = {}

        def storage(pid: Any) -> Tensor:
            dtype, key, count, view = _described(pid)
            if key not in known:
                known[key] = _filled(_entry(archive, entries, f"{roots[0]}data/{key}", size), dtype)
            if view is not None or known[key].dtype != dtype or len(known[key]) < count:
                raise Refused(f"declares {count} elements of {dtype} for storage {key}, which holds {len(known[key])}.")
            return known[key]

        return _Unpickler(io.BytesIO(_entry(archive, entries, f"{roots[0]}data.pkl", size)), size, storage).load()


def _entry(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str, size: int) -> bytes:
    """Return an entry's bytes; torch stores them uncompressed, so none is larger than the file."""
    if name not in entries:
        raise Refused(f"is truncated or damaged (no entry {name}). Copy it again.")
    info = entries[name]
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise Refused(f"has a compressed or oversized entry {name}, which torch does not write.")
    return archive.read(info)


def _filled(content: bytes, dtype: torch.dtype) -> Tensor:
    """Return ``content`` as a tensor of its own memory."""
    whole = len(content) // dtype.itemsize * dtype.itemsize
    return torch.frombuffer(bytearray(content[:whole]), dtype=dtype) if whole else torch.empty(0, dtype=dtype)


def _read_stream(content: Any, size: int, *, inner: bool = False) -> Any:
    """Read a plain pickle, or torch's older format if it starts with that format's number."""
    first = _Unpickler(content, size, inner=inner).load()
    return _read_legacy(content, size, inner=inner) if type(first) is int and first == _MAGIC else first


def _read_legacy(content: Any, size: int, *, inner: bool) -> Any:
    """Read on after the magic number: version, system, object, keys, then the bytes of each storage."""
    version, _system = (_Unpickler(content, size, inner=inner).load() for _ in range(2))
    if type(version) is not int or version != 1001:
        raise Refused("is of another version of torch's older format than 1001.")
    bases: dict[str, Tensor] = {}
    total = 0

    def storage(pid: Any) -> Tensor:
        nonlocal total
        dtype, key, count, view = _described(pid)
        if key not in bases:
            total += count * dtype.itemsize
            if total > size:
                raise Refused(f"declares {count} elements of {dtype} for storage {key}, more than the file holds.")
            bases[key] = torch.empty(count, dtype=dtype)
        if bases[key].dtype != dtype:
            raise Refused(f"declares storage {key} twice, as {bases[key].dtype} and as {dtype}.")
        return bases[key] if view is None else _view(bases[key], view)

    found = _Unpickler(content, size, storage, inner=inner).load()
    keys = _Unpickler(content, size, inner=inner).load()
    for key in keys if type(keys) is list else []:
        base = bases.get(key) if type(key) is str else None
        count = int.from_bytes(content.read(8), "little")
        if base is None or count != len(base):
            raise Refused(f"is truncated or damaged (storage {key!r}). Copy it again.")
        data = content.read(count * base.element_size())
        if len(data) != count * base.element_size():
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


def load_storage_bytes(content: bytes) -> Tensor:
    """Read a storage that was pickled by itself, as NVlabs' networks have them (see ``_pickled.BUILDERS``)."""
    if not isinstance(content, bytes):
        raise Refused("holds a storage that is not bytes.")
    found = _read_stream(io.BytesIO(content), len(content), inner=True)
    if not isinstance(found, Tensor):
        raise Refused("holds a storage that is none.")
    return found


def _plain(root: Any, size: int) -> Any:
    """Replace what stands for arrays and scalars by tensors and numbers, in place, each container once.

    Tensors that share a storage count each: a file whose tensors are together far larger than it is refused.
    """
    holder = [root]
    waiting: list[Any] = [holder]
    seen = {id(holder)}
    tuples: dict[int, tuple[Any, Any]] = {}  # the old one is kept, so that its id is not given away
    left = 8 * size + 1_000_000

    def plain(value: Any) -> Any:
        nonlocal left
        if isinstance(value, Array | Scalar):
            value = value.value()
        if isinstance(value, Tensor):
            left -= value.numel() * value.element_size()
            if left < 0:
                raise Refused("declares far more numbers than it holds.")
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
        for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
            container[key] = plain(value)
        if len(seen) + len(tuples) > _MOST_NODES:
            raise Refused("holds more containers than any network has.")
    return holder[0]
