"""A stand-in for an Apple GPU: a device ``apple`` that notes what an Apple GPU cannot do.

That is float64, the gradient of antialiased resizing, and tensors of two devices in one operation. Its tensors hold
their values on the CPU. It notes instead of raising, since an error in a thread of autograd would end the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "apple"
_MISSING = ("_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward")
_MOVES = ("_to_copy", "copy_")
_TAKE_TWO_DEVICES = (*_MOVES, "index", "index_put_")
_refused: list[str] = []


class Held(Tensor):
    """A tensor of the device."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Held:
        made: Held = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=torch.device(NAME, 0)
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None) -> Tensor:  # type: ignore[override]
        return torch.tensor(data, dtype=dtype or self.dtype).to(self.device)

    def tolist(self) -> Any:
        return self.held.tolist()


class _Device(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name, wanted = func.overloadpacket.__name__, kwargs.get("device")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    held = any(isinstance(tensor, Held) for tensor in tensors)
    there = held if wanted is None else torch.device(wanted).type == NAME
    if held and name in _MISSING:
        _refused.append(name)
    if held and name not in _TAKE_TWO_DEVICES and any(t.ndim and not isinstance(t, Held) for t in tensors):
        _refused.append(f"{name} of tensors of two devices")
    plain_args, plain = tree_map_only(Held, lambda one: one.held, (args, kwargs))
    if wanted is not None:
        plain["device"] = "cpu"
    found = func(*plain_args, **plain)
    if name == "copy_":
        return args[0]
    if not there:
        return found.clone() if name in _MOVES else found
    if any(leaf.dtype == torch.float64 for leaf in tree_leaves(found) if isinstance(leaf, Tensor)):
        _refused.append(f"{name} to float64")
    return tree_map_only(Tensor, Held, found)


@contextmanager
def refusing_device() -> Iterator[list[str]]:
    """Within it ``device="apple"`` works; gives the list of what was asked of it in vain."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        backend = backend_registration._DummyBackendModule()
        backend.get_amp_supported_dtype = lambda: [torch.bfloat16]
        backend_registration._setup_privateuseone_for_python_backend(NAME, backend)
    _refused.clear()
    with _Device():
        yield _refused


#: torch before 2.10 has no devices written in Python.
AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
