"""Options of readers: checked when they are given, and told what exists when they are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean


def choose(dataset: str, option: str, value: str, known: Iterable[str]) -> str:
    """Return ``value`` if it is known.

    Raises:
        ConfigError: it is not.
    """
    names = list(known)
    if value not in names:
        raise ConfigError(f"{dataset}: unknown {option} '{value}'. {did_you_mean(str(value), names)}")
    return value


def as_list(value: Any) -> list[Any]:
    """Return one value or several as a list; nothing for None."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
