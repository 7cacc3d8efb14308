"""One-line errors for settings out of bounds and for constructors that fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dife_lightning.errors import ConfigError, DifeError, UsageError, reason_of

#: Largest seed of NumPy.
_LARGEST_SEED = 2**32 - 1
#: A larger number of steps or epochs is a typing error; 64-bit counters fail a little later.
_MOST_STEPS = 10**12
_COUNTS = ("max_steps", "max_epochs", "min_steps", "min_epochs")


def check_bounds(settings: Any) -> None:
    """Check the seed and the counts of the trainer.

    Raises:
        UsageError: naming the first one that is out of bounds.
    """
    seed = settings.get("seed_everything")
    if not isinstance(seed, bool) and seed is not None and not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"seed_everything is {seed}; expected 0 to {_LARGEST_SEED}.")
    for name in _COUNTS:
        value = settings.trainer.get(name)
        if value is not None and not -1 <= value <= _MOST_STEPS:
            raise UsageError(f"trainer.{name} is {value}; expected -1 (no limit) to {_MOST_STEPS:,}.")


#: Starts of the lines that jsonargparse writes around the cause.
_FRAME = ("Problem with given class_path", "Does not validate against", "Subtypes:", "Errors:")


@contextmanager
def clear_construction_error() -> Iterator[None]:
    """Turn errors of constructors (model, data module, logger, callback, trainer) into one line."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError, AssertionError, ImportError) as error:
        if isinstance(error, DifeError) or isinstance(error.__cause__, DifeError):
            raise
        text = f"these settings are refused: {_first_reason(error).rstrip('.')} (DIFE_DEBUG=1 shows where)."
        raise ConfigError(text) from error


def _first_reason(error: Exception) -> str:
    """Return the kind and first line of an error; for jsonargparse's lists of one error a type, the first cause."""
    _, listed, reasons = str(error).partition("Errors:\n")
    lines = [line.strip(" -") for line in reasons.splitlines()]
    causes = [line for line in lines if line and not line.startswith(_FRAME)]
    return (causes or lines)[0][:300] if listed else reason_of(error)
