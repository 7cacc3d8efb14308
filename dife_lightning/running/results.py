"""The folder that a command writes into: a new run, a resumed run, or the evaluation of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dife_lightning.errors import UsageError
from dife_lightning.running.folders import drop_if_unused, new_run, run_of_checkpoint, stem_of
from dife_lightning.running.locks import RunLock, process_rank
from dife_lightning.running.quiet import tell
from dife_lightning.running.trust import check_links
from dife_lightning.utils.run_folder import ENVIRONMENT, RESOLVED, RunFolder

#: Tells the other processes of a distributed run which folder the first one created.
FOLDER_VARIABLE = "DIFE_RUN_FOLDER"


class ResultsFolder:
    """Chooses, makes and locks the folder of a command's results.

    Args:
        verb: fit, validate, test or predict.
        settings: of the command: ``ckpt_path``, ``runs_root``; for fit ``run`` and ``overwrite``, else ``out``.
        config_names: names of the configurations; the last one that is an experiment names an unnamed run.

    Attributes:
        path: the folder.
        resumed: whether the command resumes the run of the checkpoint.

    Raises:
        UsageError: the run exists, its name is not allowed, or another process trains in it.
    """

    def __init__(self, verb: str, settings: Any, config_names: Iterable[str]) -> None:
        self.verb, self.settings, self.stem = verb, settings, stem_of(config_names)
        self._made: list[Path] = []  # folders that this command creates, the innermost first
        self._lock: RunLock | None = None
        run = run_of_checkpoint(settings.ckpt_path)
        if run is not None and not settings.trust_run:
            check_links(run)
        self.path = self._training_folder(run) if verb == "fit" else self._evaluation_folder(run)
        self.resumed = self.path == run
        if verb == "fit" and process_rank() == 0:
            self._lock = RunLock(self.path)
        os.environ[FOLDER_VARIABLE] = str(self.path)
        tell(f"{'run' if verb == 'fit' else 'results'}: {self.path}")

    def _training_folder(self, run: Path | None) -> Path:
        name, root = self.settings.run, Path(self.settings.runs_root)
        if process_rank() > 0:
            return self._folder_of_first_process(root / name if name is not None else run)
        if run is not None and name in (None, run.name):
            return run
        if self.settings.overwrite and name and (root / name).is_dir():
            RunLock(root / name).release()  # refuses if another process trains in there
        return self._new_run(name, self.stem, self.settings.overwrite)

    def _evaluation_folder(self, run: Path | None) -> Path:
        if self.settings.out or run:
            name = f"{self.verb}-{self.stem}" if self.stem else self.verb
            folder = Path(self.settings.out) if self.settings.out else RunFolder.at(str(run)).tests / name
            self._made = _missing(folder)
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        if process_rank() > 0:
            return self._folder_of_first_process(None)
        return self._new_run(None, f"{self.verb}-{self.stem or 'untrained'}")

    def _new_run(self, name: str | None, stem: str | None, overwrite: bool = False) -> Path:
        root = Path(self.settings.runs_root)
        parents = _missing(root)
        folder = new_run(root, name, stem, overwrite)
        self._made = [folder, *parents]
        return folder

    def _folder_of_first_process(self, otherwise: Path | None) -> Path:
        """Return the folder that the first process creates; it need not exist yet."""
        if FOLDER_VARIABLE in os.environ:
            return Path(os.environ[FOLDER_VARIABLE])
        if otherwise is None:
            raise UsageError(f"`dife {self.verb}` in several processes (srun, torchrun) needs --run NAME.")
        return otherwise

    def __enter__(self) -> ResultsFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Release the lock; remove folders that this command created and left empty (or, on an error, unused)."""
        os.environ.pop(FOLDER_VARIABLE, None)
        with contextlib.suppress(OSError):  # an error here must not hide the one that ends the command
            if process_rank() == 0:
                drop_if_unused(self.path, *((RESOLVED, ENVIRONMENT) if kind and self._made else ()))
                for parent in [] if self.path.exists() else self._made[1:]:
                    parent.rmdir()  # such as runs/; fails if it is not empty
        if self._lock is not None:
            self._lock.release()


def _missing(folder: Path) -> list[Path]:
    """Return ``folder`` and those of its parents that do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]
