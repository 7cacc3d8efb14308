"""The process of one trial: `dife fit`, and an end of its own when the sweep's process dies.

Run as ``python -m dife_lightning.sweeps.child PARENT fit ...``. A sweep that is killed cannot tell its children; on
Linux the system tells them, by the SIGTERM that a `dife fit` answers with a checkpoint. Elsewhere they train on, and
the lock of their runs keeps the next `dife sweep` out until they are done.
"""

from __future__ import annotations

import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1


def end_with(parent: int) -> None:
    """Have the system send SIGTERM to this process when ``parent`` dies; leave now if it is dead already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    from dife_lightning.cli.main import main

    sys.exit(main(sys.argv[2:]))
