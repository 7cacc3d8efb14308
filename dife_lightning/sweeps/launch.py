"""Starting a trial as a process, and ending the processes of an interrupted sweep so that nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

from dife_lightning.errors import Interrupted

#: Seconds that trials get to write their checkpoints before they are told again, and then to end before they are
#: killed.
PATIENCE, GRACE = 60.0, 10.0
#: Seconds between two looks at the trials.
LOOK = 0.2


class Child(Protocol):
    """A trial's process, as ``subprocess.Popen`` has it."""

    def poll(self) -> int | None:
        """Return the exit code, None while it works."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless it has ended."""


#: Starts a trial from its words after ``dife``, the file for its output, and what its environment has in addition.
Launch = Callable[[Sequence[str], Path, Mapping[str, str]], Child]


def launch_fit(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Child:
    """Start ``dife`` with these words in a process and a session of its own.

    Ctrl-C in the terminal thus reaches the sweep alone, which hands one signal on to each trial: a second one would
    stop a `dife fit` before its checkpoint is written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "dife_lightning.sweeps.child", str(os.getpid()), *words]
    with log.open("a", encoding="utf-8") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def environment_of(parallel: int, group: str) -> dict[str, str]:
    """Return what a trial's environment has in addition: its share of the threads, and wandb without a server.

    Args:
        parallel: trials at a time.
        group: name under which wandb lists the runs, should they be sent to it later.
    """
    share = max(1, _threads() // parallel)
    wandb = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_RUN_GROUP": group}
    kept = {name: os.environ.get(name, value) for name, value in wandb.items()}
    return {"OMP_NUM_THREADS": str(share), "PYTHONUNBUFFERED": "1", **kept}


def _threads() -> int:
    """Return the threads that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Interrupted`` in the block on SIGTERM and Ctrl-C, which would else be answered each in its way."""

    def receive(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}; the same command goes on", number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(children: Collection[Child], look: float = LOOK) -> None:
    """End processes: by SIGTERM, after which a `dife fit` writes its checkpoint, then with less and less patience.

    A further Ctrl-C ends the patience.
    """
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(Interrupted, KeyboardInterrupt):
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)
            if _all_end(children, patience, look):
                return


def _all_end(children: Collection[Child], patience: float, look: float) -> bool:
    until = time.monotonic() + patience
    while any(child.poll() is None for child in children):
        if time.monotonic() > until:
            return False
        time.sleep(look)
    return True
