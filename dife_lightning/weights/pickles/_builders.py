"""What a pickle may ask for, and what it gets: builders of plain values that check their arguments.

Nothing here comes from the module that a pickle names. Only ``Attributes``, ``PickledArray`` and ``Dtype`` take a state
that a file sets; the loader refuses it for all others.
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
    """A file asks for what is not given, or declares what it does not hold; the text goes on after the file's name."""


class Builder:
    """A function that a pickle may call, and can do nothing else with."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class Attributes(dict[Any, Any]):
    """``collections.OrderedDict``, ``dnnlib.EasyDict`` and their like: a dict.

    Objects of a training's settings become an empty one: what they hold are attributes, which are passed over.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Attributes of such an object say nothing about tensors."""


class Namespace(Attributes):
    """``argparse.Namespace``: a dict of its attributes, which a pickle gives after it, as its state."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict or not all(type(name) is str for name in state):
            raise Refused("holds a namespace whose attributes are no dict of names.")
        self.update(state)


class Persistent:
    """An object of NVlabs' ``persistence``: the name of its class and its state; its source code is not looked at.

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
        raise Refused("holds a persistent object without class_name and state.")
    return Persistent(name, state)


class Dtype:
    """A numpy dtype of plain numbers."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: str) -> None:
        self.spec, self.order = spec, "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        if self.spec not in _NUMBERS:
            raise Refused(f"holds an array of numpy's dtype {self.spec!r}; only numbers and truth values are read.")
        return np.dtype(self.spec).newbyteorder(">" if self.order == ">" else "<")


_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def _dtype(spec: Any, *_: Any) -> Dtype:
    if not isinstance(spec, str):
        raise Refused("holds a dtype that is none.")
    return Dtype(spec)


class PickledArray:
    """A numpy array on its way: its state comes after it."""

    __slots__ = ("_array", "_tensor")

    def __init__(self) -> None:
        self._array: NDArray[Any] | None = None
        self._tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], Dtype):
            raise Refused("holds a damaged numpy array.")
        _, shape, dtype, fortran, content = state
        self._array = _array(_bytes(content), dtype, shape, "F" if fortran else "C")

    def value(self) -> Tensor:
        """Return the array as a tensor."""
        if self._array is None:
            raise Refused("holds a numpy array without its content.")
        if self._tensor is None:
            self._tensor = _tensor_of(self._array)
        return self._tensor


def _array(content: bytes, dtype: Dtype, shape: Any, order: Any) -> NDArray[Any]:
    plain = dtype.numpy()
    if not _are_sizes(shape) or math.prod(shape) * plain.itemsize != len(content):
        raise Refused(
            f"declares an array of {plain} of another size than the {len(content)} bytes that it holds for it."
        )
    return np.frombuffer(content, plain).reshape(shape, order=order)


def _tensor_of(array: NDArray[Any]) -> Tensor:
    wider = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}  # torch has few unsigned numbers
    return torch.from_numpy(array.astype(wider.get(array.dtype.name, array.dtype.newbyteorder("=")), order="C"))


class PickledScalar:
    """A numpy scalar."""

    __slots__ = ("_value",)

    def __init__(self, dtype: Any, content: Any) -> None:
        if not isinstance(dtype, Dtype):
            raise Refused("holds a damaged numpy number.")
        self._value = _array(_bytes(content), dtype, (1,), "C")[0].item()

    def value(self) -> Any:
        """Return the number."""
        return self._value


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any = "C") -> PickledArray:
    if not isinstance(dtype, Dtype) or order not in ("C", "F"):
        raise Refused("holds a damaged numpy array.")
    array = PickledArray()
    array._array = _array(_bytes(content), dtype, shape, order)
    return array


def _bytes(content: Any) -> bytes:
    if isinstance(content, str):  # as Python 2 pickled bytes
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise Refused("holds an array whose content is not bytes.")
    return bytes(content)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused("holds text where bytes are expected.")
    return text.encode("latin1")


def _are_sizes(values: Any) -> bool:
    if type(values) not in (tuple, list) or len(values) > _MOST_AXES:
        return False
    return all(type(v) is int and 0 <= v < _LARGEST for v in values)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A view of ``storage``; its places must lie in it, and it must not be larger."""
    if not isinstance(storage, Tensor) or storage.ndim != 1:
        raise Refused("holds a tensor without its storage.")
    if not (_are_sizes(size) and _are_sizes(stride) and len(size) == len(stride) and type(offset) is int):
        raise Refused("holds a tensor of impossible shape.")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and not (offset >= 0 and last < len(storage) and count <= len(storage)):
        raise Refused(f"declares a tensor {tuple(size)}, but holds {len(storage)} numbers for it.")
    return torch.as_strided(storage, size, stride, offset) if count else storage.new_empty(tuple(size))


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise Refused("holds a parameter that is no tensor.")
    return data


def _sizes(values: Any = ()) -> tuple[int, ...]:
    if not _are_sizes(values):
        raise Refused("holds a size that is none.")
    return tuple(values)


def _no_bytes() -> bytes:
    """``bytes()``, as older protocols write what is empty; with a number it would take memory."""
    return b""


def _set(values: Any = ()) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else []


def _text(*parts: Any) -> str:
    """A path or the name of a logger, which stand for themselves."""
    if not all(isinstance(part, str) for part in parts):
        raise Refused("holds a name that is no text.")
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

#: (module, name) as a pickle spells it -> what it gets.
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
    ("numpy", "dtype"): Builder(_dtype),
    ("numpy", "ndarray"): "numpy.ndarray",
    ("_codecs", "encode"): Builder(_encoded),
    **{(module, "bytes"): Builder(_no_bytes) for module in ("builtins", "__builtin__")},
    **{(module, set_): Builder(_set) for module in ("builtins", "__builtin__") for set_ in ("set", "frozenset")},
    **{(module, "_reconstruct"): Builder(lambda *_: PickledArray()) for module in _NUMPY},
    **{(module, "scalar"): Builder(PickledScalar) for module in _NUMPY},
    **{(module, "_frombuffer"): Builder(_frombuffer) for module in _NUMERIC},
    # beside the tensors of a training: rosinality's arguments, DVE's configuration and logger, a schedule's counts
    ("parse_config", "ConfigParser"): Attributes,
    ("logging", "getLogger"): Builder(_text),
    **{(module, f"{system}Path"): Builder(_text) for module in _PATHS for system in ("Posix", "Windows")},
    # names of types are data: the builders that take them look them up by name
    **{("torch", name.removeprefix("torch.")): name for name in STORAGES},
    **{("torch", str(dtype).removeprefix("torch.")): str(dtype) for dtype in STORAGES.values()},
}
