"""The process of one trial: `dife fit`, and an end of its own when the sweep's process dies.

Run as ``python -m dife_lightning.sweeps.child PARENT fit ...``. A sweep that is killed cannot tell its children; on
Linux the system tells them, and they answer as to a SIGTERM, which a `dife fit` ends with a checkpoint. Elsewhere they
train on, and the lock of their runs keeps the next `dife sweep` out until they are done.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SET_PARENT_DEATH_SIGNAL = 1


def end_with(parent: int) -> None:
    """Have this process get SIGTERM when ``parent`` dies; leave now if it is dead already."""
    if sys.platform == "linux":
        import ctypes

        signal.signal(signal.SIGUSR2, _pass_on_once)
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGUSR2))
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


def _pass_on_once(number: int, frame: FrameType | None) -> None:
    """Turn the first signal into a SIGTERM: Linux sends one for each thread of the parent that ends before the last.

    A second SIGTERM would stop a `dife fit` before its checkpoint is written.
    """
    signal.signal(number, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    from dife_lightning.cli.main import main

    sys.exit(main(sys.argv[2:]))
