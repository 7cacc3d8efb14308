"""Arrays in the cache folder: what cannot be read or written costs time, not results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.utils.files import atomic_write


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]] | None:
    """Return arrays of an ``.npz`` file by name, or None where there is no such file or it is damaged."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except Exception:  # on damaged bytes, NumPy, zipfile, zlib and Python's own parser raise whatever they like
        return None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an ``.npz`` file, whole or not at all; a disk that is full or read-only is no error."""
    try:
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    except OSError:
        return
