"""Names for the user's own files: ``paths.yaml`` says where generators, teachers and data sets are.

Configurations name ``own/ffhq`` instead of a path and so are the same on every machine; ``own/photos/faces/dog`` is a
folder in the one that ``photos`` stands for. The file is ``paths.yaml`` in
the working directory, or the file that the environment variable ``DIFE_PATHS`` names::

    ffhq: /data/networks/ffhq.pkl     # used as own/ffhq
    ap10k: ../datasets/ap-10k         # relative to this file
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from dife_lightning.errors import AssetError, MissingAssetError, did_you_mean

PREFIX = "own/"
_VARIABLE, _USUAL = "DIFE_PATHS", "paths.yaml"


def list_own_files() -> dict[str, Path]:
    """Return name -> path of all entries; empty if there is no ``paths.yaml``.

    Raises:
        AssetError: the file that ``DIFE_PATHS`` names is missing, or the file is no mapping of names to paths.
    """
    file = Path(os.path.expanduser(os.environ.get(_VARIABLE) or _USUAL))
    if not file.is_file():
        if os.environ.get(_VARIABLE):
            raise AssetError(f"{_VARIABLE} is {file}, which does not exist; create it, or unset {_VARIABLE}")
        return {}
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise AssetError(f"{file} cannot be read as YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(entries, dict) or not all(isinstance(v, str) for kv in entries.items() for v in kv):
        raise AssetError(f"{file}: expected lines like `ffhq: /data/ffhq.pkl`, a name and a path each")
    return {f"{PREFIX}{name}": file.resolve().parent / os.path.expanduser(path) for name, path in entries.items()}


def user_path(name: str | Path) -> Path:
    """Return the path that a user gave: ``own/...`` by :func:`find_own_file`, or a path, in which ``~`` is the home."""
    return find_own_file(str(name)) if str(name).startswith(PREFIX) else Path(os.path.expanduser(name))


def find_own_file(name: str) -> Path:
    """Return the path that ``own/<name>`` or ``own/<name>/<path>`` stands for.

    MissingAssetError without such an entry or file.
    """
    entries = list_own_files()
    file = os.environ.get(_VARIABLE) or _USUAL
    parts = name.split("/")
    starts = ["/".join(parts[:k]) for k in range(len(parts), 1, -1)]  # the longest entry counts
    entry = next((start for start in starts if start in entries), None)
    if entry is None:
        line = f"add a line `{parts[1]}: PATH` to {file} (docs/real_data.md)"
        raise MissingAssetError(f"no entry for '{name}'; {line}. {did_you_mean(name, entries)}")
    found = entries[entry] / name[len(entry) + 1 :]
    if not found.exists():
        text = f"'{name}' is {found}, which does not exist; fix entry `{entry.removeprefix(PREFIX)}` in {file}"
        raise MissingAssetError(text)
    return found
