"""Runs `dife` commands as separate processes, and turns errors into exit codes."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from dife_lightning.errors import DifeError
from dife_lightning.utils.notes import each_once

#: Seconds that an interrupted command has to end by itself after each signal.
GRACE = 10.0
#: The usual exit code after Ctrl-C.
INTERRUPTED = 130


class CommandError(DifeError):
    """A `dife` command failed; its own message was printed before."""


def guarded(work: Callable[[], object], interrupted: str) -> int:
    """Run ``work`` and return the exit code: the number that it returns or 0, 1 after an error, 130 after Ctrl-C.

    Args:
        work: the command.
        interrupted: message after Ctrl-C.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        with each_once():
            code = work()
        return code if isinstance(code, int) else 0
    except DifeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return INTERRUPTED


def heading(number: int, text: str) -> None:
    """Print the heading of a step of a long command."""
    print(f"\n── {number}. {text} ──", flush=True)


def call(words: Sequence[str]) -> float:
    """Print a `dife` command and run it as a separate process.

    Args:
        words: verb and options.

    Returns:
        The seconds it took.

    Raises:
        CommandError: it ended with another exit code than 0.
        KeyboardInterrupt: it was interrupted.
    """
    print(f"$ dife {shlex.join(words)}", flush=True)
    start = time.perf_counter()
    code = _wait([sys.executable, "-m", "dife_lightning", *words])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise CommandError(f"`dife {words[0]}` ended with exit code {code}; its message is above")
    return time.perf_counter() - start


def _wait(command: Sequence[str]) -> int:
    """Run a command; after Ctrl-C, end it before this process ends."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _stop(process)
        raise


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End an interrupted command, which may not have received the signal itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE / 5)
    interrupt = [] if sys.platform == "win32" else [lambda: process.send_signal(signal.SIGINT)]  # no such signal there
    for end in (*interrupt, process.terminate, process.kill):
        if process.poll() is not None:
            return
        end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
