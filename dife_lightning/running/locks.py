"""The rank of a process in a distributed run, and a lock that keeps two runs out of one folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO

from dife_lightning.errors import UsageError
from dife_lightning.running.folders import LOCK

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

#: Set by torchrun, by Lightning for the processes it starts, and by srun; the first one that is set counts.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def process_rank() -> int:
    """Return the rank of this process; rank 0 creates the folders and writes the files."""
    for name in _RANKS:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


class RunLock:
    """Locks a folder until it is released or the process ends; does nothing on a file system without locks.

    Args:
        folder: of a run, or of a sweep.
        command: that writes into it, for the message.
        option: by which the user chooses another folder.
        seconds: how long to wait for another process.

    Raises:
        UsageError: another process writes into the folder.
    """

    def __init__(self, folder: Path, command: str = "dife fit", option: str = "--run", seconds: float = 0.0) -> None:
        self.path, self._until = folder / LOCK, time.monotonic() + seconds
        self._busy = f"another `{command}` is writing into {folder}; wait for it, stop it, or choose another {option}."
        self._file = self._open()

    def _open(self) -> IO[str] | None:
        if fcntl is None:
            return None
        while True:
            file = self.path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                if time.monotonic() >= self._until:
                    raise UsageError(self._busy) from None
                time.sleep(0.1)
                continue
            except OSError:
                file.close()
                return None
            if _is_at(file, self.path):
                return file
            file.close()  # its last holder removed it between our two calls

    def release(self) -> None:
        """Unlock the folder and remove the lock file."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
