"""Errors whose text is written for users.

Each message is one line and says what was found, what was expected and what to type next.
The command line prints it after ``error:`` and exits with a code other than 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Characters of the longest error about a checkpoint.
_LONGEST = 1000


def printable(text: str) -> str:
    """Return ``text`` with ``?`` for line breaks, terminal escapes and other characters that cannot be printed."""
    return "".join(c if c.isprintable() else "?" for c in text)


class DifeError(Exception):
    """Base of all errors that a user can cause and fix."""


class MissingError(DifeError):
    """Something of the user's is not there, such as a data set; `dife doctor` adds where to get it."""


class AssetError(DifeError):
    """A generator, teacher or other asset is missing, unknown or altered."""


class CheckpointError(DifeError):
    """A checkpoint is missing, truncated, of another kind, or does not fit the module.

    Its text may quote names from a file that nobody trusts: it is one short line of printable characters.
    """

    def __init__(self, text: str) -> None:
        text = printable(text)
        super().__init__(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


class ConfigError(DifeError):
    """A setting, or a combination of settings, that makes no sense."""


class UsageError(ConfigError):
    """The command itself, or a key of a configuration file, is not understood (exit code 2)."""


class DataError(DifeError):
    """A data folder, file or item cannot be used."""


class MissingAssetError(AssetError, MissingError):
    """An asset that the user has to get is not there."""


class MissingDataError(DataError, MissingError):
    """A folder of data is not there."""


class TrainingError(DifeError):
    """A training run that cannot go on, for example after a NaN loss."""


class Interrupted(DifeError):
    """A run that a signal ended between two steps, after its checkpoint was written.

    Attributes:
        exit_code: 128 plus the signal's number, by convention.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def reason_of(error: BaseException) -> str:
    """Return the kind and the first line of an error of a library, for use within an error of ours."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:140] if lines else type(error).__name__


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return ``"Known: a, b, c."`` preceded by the closest name to ``found``, if one is close."""
    names = sorted(known)
    close = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
