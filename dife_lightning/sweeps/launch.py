"""Processes of trials: started, stopped so that each writes its checkpoint, and stopped when the sweep dies.

``python -m dife_lightning.sweeps.launch PARENT fit ...`` trains like `dife fit`, and stops with a checkpoint when the
process PARENT dies. Only Linux reports that; elsewhere a trial trains on, and the next `dife sweep` waits for its run.
Windows has no signal that asks a process to end, so there a trial is asked by Ctrl-Break, which it takes as SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from dife_lightning.errors import Interrupted

#: What asks a trial to write its checkpoint and end, and what ends it at once (on Windows SIGTERM does).
if sys.platform == "win32":
    ASK, KILL = signal.CTRL_BREAK_EVENT, signal.SIGTERM
    _GROUP_FLAG = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    ASK, KILL = signal.SIGTERM, signal.SIGKILL
    _GROUP_FLAG = 0
#: Seconds that interrupted trials have for their checkpoints, before they are asked again, and then before their kill.
PATIENCE, GRACE = 60.0, 10.0
#: Seconds between two polls of the trials.
POLL = 0.2
_SET_PARENT_DEATH_SIGNAL = 1

Child = subprocess.Popen[bytes]
#: Starts a trial from its words after ``dife``, the file for its output, and additions to its environment.
Launch = Callable[[Sequence[str], Path, Mapping[str, str]], Child]


def launch_fit(words: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> Child:
    """Start ``dife`` with these words, in a session of its own.

    Ctrl-C in the terminal then reaches only the sweep, which sends one signal to each trial. A second one would stop a
    `dife fit` before its checkpoint is written.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    # -P: a module in the working folder must not replace one of a library
    command, env = [sys.executable, "-P", "-m", __name__, str(os.getpid()), *words], {**os.environ, **environment}
    with log_file.open("a", encoding="utf-8") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # ignored on Windows, which has groups
            creationflags=_GROUP_FLAG,
        )


def environment_of(parallel: int, group: str) -> dict[str, str]:
    """Return additions to a trial's environment: its share of the threads, and wandb without a server.

    Args:
        parallel: trials at a time.
        group: name under which wandb lists the runs, if they are sent to a server later.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(given) if given.isdigit() and int(given) else cores
    wandb = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_RUN_GROUP": group}
    kept = {name: os.environ.get(name, value) for name, value in wandb.items()}
    return {"OMP_NUM_THREADS": str(max(1, threads // parallel)), "PYTHONUNBUFFERED": "1", **kept}


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Interrupted`` inside the block on SIGTERM and Ctrl-C."""

    def receive(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}; the same command resumes the sweep", number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(children: Collection[Child], poll_seconds: float = POLL) -> None:
    """End processes: by ``ASK``, on which a `dife fit` writes its checkpoint, then by a second one, then by ``KILL``.

    A further Ctrl-C goes to the next step at once.
    """
    for number, patience in ((ASK, PATIENCE), (ASK, GRACE), (KILL, GRACE)):
        until = time.monotonic() + patience
        with contextlib.suppress(Interrupted, KeyboardInterrupt):
            for child in (child for child in children if child.poll() is None):
                child.send_signal(number)
            while any(child.poll() is None for child in children) and time.monotonic() <= until:
                time.sleep(poll_seconds)
        if all(child.poll() is not None for child in children):
            return


def end_with(parent: int) -> None:
    """Send this process a SIGTERM when the process ``parent`` dies; exit now if it is dead already.

    On Windows only Ctrl-Break becomes a SIGTERM: in a virtual environment a launcher stands between the two processes,
    so that the sweep is never the parent there.
    """
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, lambda number, frame: signal.raise_signal(signal.SIGTERM))
        return
    if sys.platform == "linux":
        import ctypes

        signal.signal(signal.SIGUSR2, _terminate_once)
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGUSR2))
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


def _terminate_once(number: int, frame: FrameType | None) -> None:
    """Turn the first signal into a SIGTERM and ignore the rest: Linux sends one for each thread of the parent."""
    signal.signal(number, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    sys.argv = ["dife", *sys.argv[2:]]
    runpy.run_module("dife_lightning", run_name="__main__", alter_sys=True)
