"""Compares the settings in a file with its tensors, before memory is allocated for a network of these settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from dife_lightning.errors import CheckpointError, reason_of
from dife_lightning.weights.checkpoints import check_state

#: Most values and levels that the settings of a file may have; our runs have 300 values on 7 levels.
MOST_VALUES, DEEPEST = 20_000, 20
#: Larger integers are never valid settings, and could keep a constructor busy forever.
LARGEST_INTEGER = 2**64
#: A network of n tensors has at most this many parts for each (modules, parameters, buffers), and some to spare.
_PARTS, _SPARE_PARTS = 10, 1000
#: Elements that a network may have beside those of its file (buffers that are not saved).
_SPARE_ELEMENTS = 10_000_000


def check_settings(
    cls: Callable[..., Any], settings: Mapping[str, Any], checkpoint: dict[str, Any], source: object
) -> None:
    """Check that a method with these settings has exactly the tensors of a checkpoint; takes no memory for them.

    CheckpointError if the class does not take the settings, or has other tensors.
    """
    check_size(settings, source)
    state = dict(checkpoint["state_dict"])
    wrong = next((name for name, value in state.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        raise CheckpointError(f"{source}: '{wrong}' is a {type(state[wrong]).__name__}, expected a tensor.")
    try:
        with torch.device("meta"), _at_most(_PARTS * len(state) + _SPARE_PARTS):
            module = cls(**settings)
        # brings a checkpoint of an older version up to date
        module.on_load_checkpoint({**checkpoint, "state_dict": state})
    except _TooLarge:
        raise CheckpointError(
            f"{source}: damaged or edited: its settings describe a larger {cls.__name__} than its {len(state)} tensors."
        ) from None
    except Exception as error:  # settings of a damaged or hostile file can make a constructor fail in any way
        reason = reason_of(error)
        raise CheckpointError(f"{source}: its settings do not fit {cls.__name__} of this version ({reason}).") from None
    check_state(state, module.state_dict(), source, cls.__name__)
    found = sum(value.numel() for value in state.values())
    if sum(value.numel() for value in (*module.parameters(), *module.buffers())) > 2 * found + _SPARE_ELEMENTS:
        raise CheckpointError(
            f"{source}: damaged or edited: its settings describe a larger {cls.__name__} than its {found:,} values."
        )


def check_size(settings: object, source: object) -> None:
    """Raise CheckpointError for settings that are too many to look through, such as references that multiply."""
    for number, (value, depth) in enumerate(all_values(settings)):
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise CheckpointError(f"{source}: a setting is an integer beyond 64 bits.")
        if number > MOST_VALUES or depth > DEEPEST:
            raise CheckpointError(f"{source}: its settings are too many or nested too deeply.")


def all_values(value: object, depth: int = 0) -> Iterator[tuple[object, int]]:
    """Yield a value of settings and all keys and values within it, each with its level."""
    yield value, depth
    if depth > DEEPEST:
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name, depth
            yield from all_values(item, depth + 1)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from all_values(item, depth + 1)


class _TooLarge(Exception):
    """A construction was stopped by :func:`_at_most`."""


@contextmanager
def _at_most(parts: int) -> Iterator[None]:
    """Stop a construction that registers more than ``parts`` modules, parameters and buffers."""
    left = parts

    def count(module: nn.Module, name: str, part: nn.Module | Tensor | None) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooLarge

    register = (
        hooks.register_module_parameter_registration_hook,
        hooks.register_module_buffer_registration_hook,
        hooks.register_module_module_registration_hook,
    )
    handles = [one(count) for one in register]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
