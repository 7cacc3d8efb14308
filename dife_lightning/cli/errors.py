"""Turning what went wrong into one line and an exit code."""

from __future__ import annotations

import os

from dife_lightning.errors import ConfigError, DifeError


class UsageError(ConfigError):
    """The command itself, or a key of a configuration file, is not understood (exit code 2)."""


def exit_code(error: BaseException) -> int:
    """Return 2 for an error in the command or configuration, 1 for any other."""
    return 2 if isinstance(error, UsageError) else 1


def one_line(error: BaseException) -> str:
    """Return the message of ``error`` as one line.

    A DataLoader worker puts its traceback into the message of the error that it passes on; only the last line, which
    is the message itself, is kept.
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].split("Error: ", 1)[-1]
    return " ".join(text.split()) or type(error).__name__


def debugging() -> bool:
    """Return whether the user asked for tracebacks with ``DIFE_DEBUG=1``."""
    return os.environ.get("DIFE_DEBUG", "0") not in ("", "0")


def user_error(error: BaseException) -> BaseException | None:
    """Return the error that the user can mend: ``error`` itself or what caused it; None if it is a bug.

    jsonargparse wraps what a constructor raises into an error of its own.
    """
    found: BaseException | None = error
    while found is not None and not is_user_error(found):
        found = found.__cause__
    return found


def is_user_error(error: BaseException) -> bool:
    """Return whether ``error`` is one that the user can mend, so that a traceback would only be in the way."""
    if isinstance(error, DifeError):
        return True
    return type(error).__name__ == "MisconfigurationException" and type(error).__module__.startswith("lightning")
