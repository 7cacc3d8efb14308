"""Errors for users: one line that says what was found, what was expected and what to type next.

The command line prints the message after ``error:`` and exits with a code other than 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Longest error about a checkpoint, in characters.
_LONGEST = 1000


def printable(text: str) -> str:
    """Replace line breaks, terminal escapes and other unprintable characters in ``text`` by ``?``."""
    return "".join(c if c.isprintable() else "?" for c in text)


class DifeError(Exception):
    """Base class of all errors that a user can cause and fix."""


class MissingError(DifeError):
    """Something that the user must provide is missing, such as a data set; `dife doctor` says where to get it."""


class AssetError(DifeError):
    """A generator, teacher or other asset is missing, unknown or altered."""


class CheckpointError(DifeError):
    """A checkpoint is missing, truncated, of another kind, or does not fit the module.

    The message may quote an untrusted file, so it is cut and made printable.
    """

    def __init__(self, text: str) -> None:
        text = printable(text)
        super().__init__(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


class ConfigError(DifeError):
    """A setting or a combination of settings is invalid."""


class UsageError(ConfigError):
    """A command or a key of a configuration file is invalid (exit code 2)."""


class DataError(DifeError):
    """A data folder, file or item cannot be used."""


class MissingAssetError(AssetError, MissingError):
    """An asset that the user must provide is missing."""


class MissingDataError(DataError, MissingError):
    """A data folder is missing."""


class TrainingError(DifeError):
    """A training cannot continue, for example after a NaN loss."""


class Interrupted(DifeError):
    """A signal stopped a run between two steps, after its checkpoint was written.

    Attributes:
        exit_code: 128 + signal number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def reason_of(error: BaseException) -> str:
    """Return the class and first line of a library's error, for use in a message of ours."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:140] if lines else type(error).__name__


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean 'b'? Known: a, b, c."``; the question only if a name is close to ``found``."""
    names = sorted(known)
    close = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
