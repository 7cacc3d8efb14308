"""Turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import os

from dife_lightning.errors import DataError, DifeError, Interrupted, TrainingError, UsageError

#: Errors of the operating system, and what to do about them.
_SYSTEM = {
    errno.EACCES: "Choose a folder of your own, for example with --runs_root or --out.",
    errno.EPERM: "Choose a folder of your own, for example with --runs_root or --out.",
    errno.EROFS: "Choose a folder that can be written to, for example with --runs_root or --out.",
    errno.ENOTDIR: "A part of this path is a file; choose another one.",
    errno.EEXIST: "It is in the way of a folder or file that is written; choose another place, for example with --out.",
    errno.EISDIR: "It is a folder; expected the name of a file, for example with --out.",
    errno.ENOSPC: "Free some space; existing files are unchanged.",
    errno.EDQUOT: "Free some space; existing files are unchanged.",
    errno.EFBIG: "Files may not grow that large here (see `ulimit -f`); existing files are unchanged.",
}


def exit_code(error: BaseException) -> int:
    """Return 2 for an error in the command or configuration, 128 + n for signal n, 1 for any other."""
    if isinstance(error, Interrupted):
        return error.exit_code
    return 2 if isinstance(error, UsageError) else 1


def one_line(error: BaseException) -> str:
    """Return the message of ``error`` as one line.

    A DataLoader worker adds its traceback to the message of the error; only the last line, the message, is kept.
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].split("Error: ", 1)[-1]
    return " ".join(text.split()) or type(error).__name__


def debugging() -> bool:
    """Return whether the user asked for tracebacks with ``DIFE_DEBUG=1``."""
    return os.environ.get("DIFE_DEBUG", "0") not in ("", "0")


def user_error(error: BaseException) -> BaseException | None:
    """Return the error that the user can fix, ``error`` or its cause; None for a bug.

    jsonargparse wraps errors of constructors into its own. Errors of the operating system and of a killed DataLoader
    worker become a ``DifeError``.
    """
    found: BaseException | None = error
    while found is not None:
        if is_user_error(found):
            return found
        translated = _translated(found)
        if translated is not None:
            return translated
        found = found.__cause__
    return None


def is_user_error(error: BaseException) -> bool:
    """Return whether the user can fix ``error``, so that no traceback is needed."""
    if isinstance(error, DifeError):
        return True
    return type(error).__name__ == "MisconfigurationException" and type(error).__module__.startswith("lightning")


def _translated(error: BaseException) -> DifeError | None:
    """Return a ``DifeError`` for an error of the operating system or of a DataLoader; None for others."""
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        what = "a file could not be written" if error.filename is None else error.filename
        return DataError(f"{what}: {(error.strerror or 'the system refused').lower()}. {_SYSTEM[error.errno]}")
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):
        return TrainingError(
            "a DataLoader worker was killed (out of memory?); resume with --ckpt_path last, "
            "and lower data.init_args.num_workers if it happens again."
        )
    return None
