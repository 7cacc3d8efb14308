"""Which process of a distributed run this is, and the lock that keeps two runs out of one folder."""

from __future__ import annotations

import os
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
    """Return this process's number; 0 makes the folders and writes the files."""
    for name in _RANKS:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


class RunLock:
    """Locks the folder of a run until it is released or the process ends.

    On a file system without locks nothing is locked.

    Args:
        folder: of the run.

    Raises:
        UsageError: another process trains in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._file = self._open(folder)

    def _open(self, folder: Path) -> IO[str] | None:
        if fcntl is None:
            return None
        while True:
            file = self.path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise UsageError(
                    f"another `dife fit` is writing into {folder}; wait for it, stop it, or choose another --run."
                ) from None
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
