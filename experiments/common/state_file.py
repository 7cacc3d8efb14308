"""The small file that says what decided a result and whether the result is complete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import RunFolder
from experiments.common.keys import Key


@dataclass(frozen=True)
class StateFile:
    """Such a file at ``path``."""

    path: Path

    @classmethod
    def beside(cls, run: RunFolder) -> StateFile:
        """Return the file of a run, ``cells/<run>.json`` in the folder of all runs."""
        return cls(run.root / "cells" / f"{run.name}.json")

    def read(self) -> tuple[Key, bool] | None:
        """Return what decided the result and whether it is complete; None if there is no file."""
        if not self.path.is_file():
            return None
        found = json.loads(self.path.read_text(encoding="utf-8"))
        return found["key"], bool(found["finished"])

    def write(self, key: Key, *, finished: bool) -> None:
        """Write down what decides the result, and whether it is complete."""
        write_json(self.path, {"finished": finished, "key": key})
