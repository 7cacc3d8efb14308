"""An unpickler that builds dicts, lists and plain values, and calls only the functions of our own table."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from dife_lightning.weights.pickles._builders import (
    BUILDERS,
    Attributes,
    Builder,
    Dtype,
    Namespace,
    PickledArray,
    Refused,
)

#: Number of objects that any file may make, and bytes that it must have for each further one. An object takes 50 to 200
#: bytes of memory; networks have 8 (a trained scalar) to 1000 bytes per object.
_OBJECTS, _BYTES_EACH = 200_000, 32
#: The function that torch names for a storage pickled by itself, as in NVlabs' networks.
_NESTED_STORAGE = ("torch.storage", "_load_from_bytes")


class Unpickler(pickle._Unpickler):
    """Unpickler that calls only the functions of ``BUILDERS`` and limits memory by the size of the file.

    It extends Python's unpickler written in Python, because the one in C allocates memory for any memo index that a
    file names. Tensor contents are read equally fast. Opcodes that would hash, change or call objects of the file are
    replaced: only dicts, lists and our own objects are filled, keys are plain values, and sets become lists.

    Args:
        file: has ``read`` and ``readline``.
        size: bytes of the file; it limits the number of objects and what builders copy.
        storage: torch's reference to a storage -> its numbers.
        load_storage: bytes of a storage that was pickled by itself -> its numbers; without it such bytes are refused.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    #: Attributes of the base class, which does not declare them.
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(
        self,
        file: Any,
        size: int,
        storage: Callable[[Any], Tensor] | None = None,
        load_storage: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self.storage, self.load_storage = storage, load_storage
        self.left = 8 * size + 1_000_000
        self.objects = self.most = _OBJECTS + size // _BYTES_EACH

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _NESTED_STORAGE and self.load_storage is not None:
            return Builder(self.load_storage)
        known = BUILDERS.get((module, name))
        if known is None:
            asked = f"{module}.{name}"[:200]
            raise Refused(f"asks for {asked}, which could run code; nothing was executed. {_hint(module)}")
        return known

    def persistent_load(self, pid: Any) -> Tensor:
        if self.storage is None:
            raise Refused("refers to data that is not in the file.")
        return self.storage(pid)

    def charge(self, value: Any) -> None:
        """Count what a builder may copy, and refuse more than the size of the file justifies."""
        if isinstance(value, bytes | bytearray | str):
            self.left -= len(value)
        elif isinstance(value, dict | list | tuple):
            self.left -= 100 * len(value)
        if self.left < 0:
            raise Refused("expands its data far beyond the size of a checkpoint.")

    def count(self) -> None:
        """Count an object or memo entry, which takes far more memory than its one or two bytes in the file."""
        self.objects -= 1
        if self.objects < 0:
            raise Refused(f"makes more objects than a checkpoint of its size has ({self.most}).")

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        builder = self.stack[-1]
        if type(arguments) is not tuple or not (isinstance(builder, Builder) or builder is Attributes):
            raise Refused("calls an object that is no function.")
        for value in arguments:
            self.charge(value)
        self.stack[-1] = _attributes(*arguments) if builder is Attributes else builder(*arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        known = any(self.stack[-1] is kind for kind in (Attributes, Namespace))
        if not known or type(arguments) is not tuple or arguments:
            raise Refused("makes an object that is not data.")
        self.stack[-1] = self.stack[-1]()

    def load_global(self) -> None:
        self.stack.append(self.named())

    def load_inst(self) -> None:
        self.named()
        self.refuse()

    def named(self) -> Any:
        """Return the builder that the next two lines name."""
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise Refused("is truncated. Copy it again.")
        return self.find_class(module[:-1].decode("utf-8"), name[:-1].decode("utf-8"))

    def load_build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) not in (Attributes, Namespace, PickledArray, Dtype):
            raise Refused("changes an object that is not data.")
        for value in state if type(state) is tuple else (state,):
            self.charge(value)
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
        raise Refused("makes an object that is not data.")


for _opcode, _function in {
    pickle.REDUCE: Unpickler.load_reduce,
    pickle.NEWOBJ: Unpickler.load_newobj,
    pickle.GLOBAL: Unpickler.load_global,
    pickle.INST: Unpickler.load_inst,
    pickle.BUILD: Unpickler.load_build,
    pickle.SETITEM: Unpickler.load_setitem,
    pickle.SETITEMS: Unpickler.load_setitems,
    pickle.DICT: Unpickler.load_dict,
    pickle.APPEND: Unpickler.load_append,
    pickle.APPENDS: Unpickler.load_appends,
    pickle.EMPTY_SET: Unpickler.load_set,
    pickle.ADDITEMS: Unpickler.load_appends,
    pickle.FROZENSET: Unpickler.load_frozen,
    pickle.BYTEARRAY8: Unpickler.load_bytes,
    **dict.fromkeys(
        (pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEXT_BUFFER), Unpickler.refuse
    ),
}.items():
    Unpickler.dispatch[_opcode[0]] = _function


def _counted(function: Callable[[Unpickler], None]) -> Callable[[Unpickler], None]:
    def load(self: Unpickler) -> None:
        self.count()
        function(self)

    return load


for _opcode in (
    *(pickle.MARK, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.LIST, pickle.DICT, pickle.FROZENSET),
    *(pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.REDUCE, pickle.NEWOBJ),
    *(pickle.MEMOIZE, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT),
):
    Unpickler.dispatch[_opcode[0]] = _counted(Unpickler.dispatch[_opcode[0]])


def _fill(target: Any, items: list[Any]) -> None:
    """Put alternating keys and values into a dict; keys must be plain values, which are fast to hash."""
    if not isinstance(target, dict) or len(items) % 2:
        raise Refused("fills an object that is no dict.")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes, int, float, bool, type(None)) or (type(key) is int and abs(key) >= 1 << 60):
            raise Refused("has a dict whose keys are no names or numbers.")
        target[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise Refused("fills an object that is no list.")
    target.extend(items)


def _attributes(pairs: Any = (), *rest: Any) -> Attributes:
    """Make an OrderedDict or EasyDict from a dict or from pairs."""
    found = Attributes()
    if rest or not isinstance(pairs, dict | list | tuple):
        raise Refused("makes a dict from something that is no dict.")
    several = pairs.items() if isinstance(pairs, dict) else pairs
    for pair in several:
        if type(pair) not in (tuple, list) or len(pair) != 2:
            raise Refused("makes a dict from something that is no dict.")
        _fill(found, list(pair))
    return found


def _hint(module: str) -> str:
    if module.startswith("dnnlib.tflib"):
        return "It is a TensorFlow network: convert it with legacy.py of stylegan2-ada-pytorch."
    return "Use a file that holds tensors and plain values only."
