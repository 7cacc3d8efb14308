"""The names that a pickle may use, and what they build: plain values with checked arguments.

Nothing is imported from the module that a pickle names. Only ``Attributes``, ``PickledArray`` and ``Dtype`` accept a
state from the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_AXES, _LARGEST = 64, 1 << 40


class Refused(Exception):
    """A file is refused. The message continues after the name of the file."""


class Builder:
    """A function that a pickle may call. It cannot change the function or read from it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class Attributes(dict[Any, Any]):
    """Stands for ``collections.OrderedDict``, ``dnnlib.EasyDict`` and similar classes: a dict.

    Objects with the settings of a training become an empty one: their attributes are ignored.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignore the attributes; they are no tensors."""


class Namespace(Attributes):
    """Stands for ``argparse.Namespace``: a dict of its attributes, which the pickle gives as its state."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict or not all(type(name) is str for name in state):
            raise Refused("has a namespace whose attributes are no dict of names.")
        self.update(state)


class Persistent:
    """An object of NVlabs' ``persistence``: the name of its class and its state; its source code is ignored.

    Attributes:
        class_name: e.g. ``Generator``.
        state: the module's ``__dict__``.
    """

    __slots__ = ("class_name", "state")

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state


def _persistent(meta: Any, *_: Any) -> Persistent:
    name, state = (meta.get("class_name"), meta.get("state")) if isinstance(meta, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(state, dict):
        raise Refused("has a persistent object without class_name and state.")
    return Persistent(name, state)


class Dtype:
    """A numpy dtype of plain numbers."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: Any, *_: Any) -> None:
        if not isinstance(spec, str):
            raise Refused("has an invalid numpy dtype.")
        self.spec, self.order = spec, "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        if self.spec not in _NUMBERS:
            raise Refused(f"has an array of numpy dtype {self.spec!r}; only numbers and booleans are supported.")
        return np.dtype(self.spec).newbyteorder(">" if self.order == ">" else "<")


_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class PickledArray:
    """A numpy array; the pickle gives its state (shape, dtype, content) afterwards."""

    __slots__ = ("_tensor",)

    def __init__(self) -> None:
        self._tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], Dtype):
            raise Refused("has a damaged numpy array.")
        _, shape, dtype, fortran, content = state
        self._tensor = _tensor_of(_array(_bytes(content), dtype, shape, "F" if fortran else "C"))

    def value(self) -> Tensor:
        """Return the array as a tensor."""
        if self._tensor is None:
            raise Refused("has a numpy array without content.")
        return self._tensor


def _array(content: bytes, dtype: Dtype, shape: Any, order: Any) -> NDArray[Any]:
    plain = dtype.numpy()
    if not _are_sizes(shape) or math.prod(shape) * plain.itemsize != len(content):
        raise Refused(f"declares an array of {plain} of another size than the {len(content)} bytes that it has for it.")
    return np.frombuffer(content, plain).reshape(shape, order=order)


def _tensor_of(array: NDArray[Any]) -> Tensor:
    wider = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}  # torch has few unsigned numbers
    return torch.from_numpy(array.astype(wider.get(array.dtype.name, array.dtype.newbyteorder("=")), order="C"))


def _scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, Dtype):
        raise Refused("has a damaged numpy number.")
    return _array(_bytes(content), dtype, (1,), "C")[0].item()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any = "C") -> Tensor:
    if not isinstance(dtype, Dtype) or order not in ("C", "F"):
        raise Refused("has a damaged numpy array.")
    return _tensor_of(_array(_bytes(content), dtype, shape, order))


def _bytes(content: Any) -> bytes:
    if isinstance(content, str):  # as Python 2 pickled bytes
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise Refused("has an array whose content is not bytes.")
    return bytes(content)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused("has text where bytes are expected.")
    return text.encode("latin1")


def _are_sizes(values: Any) -> bool:
    if type(values) not in (tuple, list) or len(values) > _MOST_AXES:
        return False
    return all(type(v) is int and 0 <= v < _LARGEST for v in values)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Return a view of ``storage``; it must lie within the storage and have no more elements."""
    if not isinstance(storage, Tensor) or storage.ndim != 1:
        raise Refused("has a tensor without a storage.")
    if not (_are_sizes(size) and _are_sizes(stride) and len(size) == len(stride) and type(offset) is int):
        raise Refused("has a tensor of impossible shape.")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and not (offset >= 0 and last < len(storage) and count <= len(storage)):
        raise Refused(f"declares a tensor {tuple(size)}, but has {len(storage)} numbers for it.")
    return torch.as_strided(storage, size, stride, offset) if count else storage.new_empty(tuple(size))


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise Refused("has a parameter that is no tensor.")
    return data


def _sizes(values: Any = ()) -> tuple[int, ...]:
    if not _are_sizes(values):
        raise Refused("has an invalid torch.Size.")
    return tuple(values)


def _no_bytes() -> bytes:
    """Stands for ``bytes()``, the empty bytes of older protocols; ``bytes(n)`` would allocate memory."""
    return b""


def _set(values: Any = ()) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else []


def _text(*parts: Any) -> str:
    """Return a path or the name of a logger as text."""
    if not all(isinstance(part, str) for part in parts):
        raise Refused("has a name that is no text.")
    return "/".join(parts)


STORAGES: dict[Any, torch.dtype] = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_PATHS = ("pathlib", "pathlib._local")

#: (module, name) in the pickle -> what it stands for.
BUILDERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Attributes,
    ("collections", "Counter"): Attributes,  # a scheduler's milestones
    ("argparse", "Namespace"): Namespace,
    ("dnnlib.util", "EasyDict"): Attributes,
    ("dnnlib", "EasyDict"): Attributes,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Builder(_persistent),
    ("torch._utils", "_rebuild_tensor"): Builder(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Builder(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Builder(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Builder(_parameter),
    ("torch", "Size"): Builder(_sizes),
    ("numpy", "dtype"): Builder(Dtype),
    ("numpy", "ndarray"): "numpy.ndarray",
    ("_codecs", "encode"): Builder(_encoded),
    **{(module, "bytes"): Builder(_no_bytes) for module in ("builtins", "__builtin__")},
    **{(module, set_): Builder(_set) for module in ("builtins", "__builtin__") for set_ in ("set", "frozenset")},
    **{(module, "_reconstruct"): Builder(lambda *_: PickledArray()) for module in _NUMPY},
    **{(module, "scalar"): Builder(_scalar) for module in _NUMPY},
    **{(module, "_frombuffer"): Builder(_frombuffer) for module in _NUMERIC},
    # stored beside the tensors: rosinality's arguments, DVE's configuration and logger, counts of a schedule
    ("parse_config", "ConfigParser"): Attributes,
    ("logging", "getLogger"): Builder(_text),
    **{(module, f"{system}Path"): Builder(_text) for module in _PATHS for system in ("Posix", "Windows")},
    # names of types are data: the builders look them up by name
    **{("torch", name.removeprefix("torch.")): name for name in STORAGES},
    **{("torch", str(dtype).removeprefix("torch.")): str(dtype) for dtype in STORAGES.values()},
}
