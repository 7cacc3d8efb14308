"""Checks of options at the moment they are given, so that a mistake costs one line and not a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dife_lightning.errors import ConfigError, did_you_mean

T = TypeVar("T")


def require(
    where: str = "",
    /,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
    **values: Any,
) -> None:
    """Raise ConfigError for the first of ``values`` that is no number within the bounds.

    ``values``: name -> number, or several numbers, each of which is checked; None (an option that is not set) passes.
    ``where`` precedes the name in the message, for example ``pairs.``.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    expected = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else [] if value is None else [value]
        for number in several:
            if not isinstance(number, int | float) or not math.isfinite(number):
                raise ConfigError(f"{where}{name} is {value}; expected a number {expected}".rstrip())
            if not (at_least <= number <= at_most and above < number < below):
                raise ConfigError(f"{where}{name} is {value}; expected {expected}")


def require_choice(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise ConfigError if ``value`` is none of ``allowed``."""
    if value not in (several := tuple(allowed)):
        raise ConfigError(f"{name} '{value}' is unknown. {did_you_mean(str(value), several)}")


def require_choices(where: str, options: Any) -> None:
    """Raise ConfigError if a field of a dataclass that is typed as a ``Literal`` holds something else."""
    assert is_dataclass(options)
    hints = get_type_hints(type(options))
    for name in (field.name for field in fields(options)):
        if get_origin(hints[name]) is Literal:
            require_choice(f"{where}{name}", getattr(options, name), get_args(hints[name]))


def as_options(kind: type[T], value: Any) -> T:
    """Return ``value`` as ``kind``: itself, or built from a plain dict (as a checkpoint stores it)."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"{kind.__name__}: expected its options as a dict, found {type(value).__name__}")
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise ConfigError(f"{kind.__name__} has no option '{key}'. {did_you_mean(key, known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})
