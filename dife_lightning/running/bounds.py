"""Settings out of bounds, missing packages, and errors of constructors, in one line."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dife_lightning.errors import ConfigError, DifeError, UsageError, reason_of

#: Largest seed of NumPy.
_LARGEST_SEED = 2**32 - 1
#: A count of steps or epochs beyond this is a slip of the keyboard; counters of 64 bits fail a little later.
_MOST_STEPS = 10**12
#: Logger -> the packages of which it needs one.
_LOGGERS = {
    "TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "MLFlowLogger": ("mlflow",),
    "WandbLogger": ("wandb",),
}
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


def check_loggers(logger: Any) -> None:
    """Check that the packages of the loggers are installed.

    Args:
        logger: ``trainer.logger`` of the parsed settings.

    Raises:
        ConfigError: naming the first package that is missing.
    """
    for entry in logger if isinstance(logger, list) else [logger]:
        name = str(entry.get("class_path") if hasattr(entry, "get") else None).rpartition(".")[2]
        packages = _LOGGERS.get(name, ())
        if packages and not any(importlib.util.find_spec(package) for package in packages):
            raise ConfigError(
                f"{name} needs the package '{packages[0]}', which is not installed. Install it with `pip install "
                f"{packages[0]}`, or choose another logger (none: --config trainer/no_logger)."
            )


@contextmanager
def clear_construction_error() -> Iterator[None]:
    """Turn what the constructor of a model, data module, logger, callback or trainer refuses into one line."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError, AssertionError, ImportError) as error:
        if isinstance(error, DifeError) or isinstance(error.__cause__, DifeError):
            raise
        raise ConfigError(f"these settings are refused: {reason_of(error)} (DIFE_DEBUG=1 shows where).") from error
