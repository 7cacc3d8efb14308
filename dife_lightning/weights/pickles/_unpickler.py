"""The machine under ``unpickling``: a loader of pickles that fills dicts and lists, and calls our builders alone."""

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

#: Objects that any file may make, and how many bytes it must have for each further one; each takes 50 to 200 bytes of
#: memory. Networks have 8 (a scalar that was trained) to 1000 bytes for one.
_OBJECTS, _BYTES_EACH = 200_000, 32
#: The function that torch names for a storage pickled by itself, as in NVlabs' networks.
_NESTED_STORAGE = ("torch.storage", "_load_from_bytes")


class Unpickler(pickle._Unpickler):
    """Calls builders of our own table alone; ``storage`` answers torch's references to storages.

    It is the loader that Python has in Python: the one in C takes memory for whatever index a file memorises a value
    under. The content of tensors is read as fast by either. Opcodes that would hash, change or call what a file made
    are replaced: only dicts, lists and our own objects are filled, keys are plain, sets are lists.

    Args:
        file: with ``read`` and ``readline``.
        size: bytes of the file; how many objects are made, and what builders copy, is bounded by it.
        storage: torch's reference to a storage -> its numbers.
        load_storage: bytes of a storage that was pickled by itself -> its numbers; without it such bytes are refused.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    #: Of the base class, which says nothing of them.
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

    def count(self) -> None:
        """Count an object, or a place in the memo, that takes far more memory than the byte or two of its opcode."""
        self.objects -= 1
        if self.objects < 0:
            raise Refused(f"makes more objects than a checkpoint of its size has ({self.most}).")

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
        known = any(self.stack[-1] is kind for kind in (Attributes, Namespace))
        if not known or type(arguments) is not tuple or arguments:
            raise Refused("makes an object that is no data.")
        self.stack[-1] = self.stack[-1]()

    def load_global(self) -> None:
        self.stack.append(self.named())

    def load_inst(self) -> None:
        self.named()
        self.refuse()

    def named(self) -> Any:
        """Find what the next two lines name."""
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise Refused("is truncated. Copy it again.")
        return self.find_class(module[:-1].decode("utf-8"), name[:-1].decode("utf-8"))

    def load_build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) not in (Attributes, Namespace, PickledArray, Dtype):
            raise Refused("changes an object that is no data.")
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
        raise Refused("makes an object that is no data.")


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
