"""Files shipped with the package, found by name: generators and the surface teacher of the embedded world.

They are in ``dife_lightning/assets``. Its ``manifest.json`` gives the file, SHA-256, kind and remarks of each name.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path
from typing import Any

from dife_lightning.errors import AssetError, did_you_mean
from dife_lightning.utils.files import atomic_write, sha256, write_json
from dife_lightning.weights.user_paths import PREFIX, find_own_file

#: Folder of the shipped files.
FOLDER = Path(__file__).resolve().parents[1] / "assets"


def list_assets() -> dict[str, dict[str, Any]]:
    """Return the manifest: name -> {file, sha256, kind, ...}; empty before ``make world`` has run once."""
    manifest = FOLDER / "manifest.json"
    if not manifest.is_file():
        return {}
    try:
        entries: dict[str, dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AssetError(f"{manifest} is not valid JSON ({error}). Run `make world` or reinstall.") from None
    return entries


def find_asset(name_or_path: str | Path) -> Path:
    """Return the file of a shipped asset or of an ``own/...`` name, or the given path if it is a file.

    Args:
        name_or_path: a name of :func:`list_assets`, such as ``world/human``; an entry of the user's ``paths.yaml``,
            such as ``own/ffhq`` (see ``user_paths``); or the path of a file.

    Raises:
        AssetError: neither a known name nor a file, or a shipped file has been altered.
    """
    if str(name_or_path).startswith(PREFIX):
        return find_own_file(str(name_or_path))
    entries = list_assets()
    entry = entries.get(str(name_or_path))
    if entry is None:
        path = Path(os.path.expanduser(name_or_path))
        if not path.is_file():
            raise AssetError(f"no asset or file '{name_or_path}'. {did_you_mean(str(name_or_path), entries)}")
        return path
    path = FOLDER / entry["file"]
    if not path.is_file():
        raise AssetError(f"asset '{name_or_path}': {path} is missing; run `make world` or reinstall.")
    state, expected = path.stat(), entry["sha256"]
    found = _hash_once(path, state.st_mtime_ns, state.st_size)
    if found != expected:
        text = f"asset '{name_or_path}': {path.name} has sha256 {found[:12]}..., expected {expected[:12]}..."
        raise AssetError(f"{text}; run `make world` or reinstall.")
    return path


def register_asset(name: str, source: str | Path, kind: str, **info: Any) -> Path:
    """Copy ``source`` into the shipped assets and record it; an older one of that name is replaced.

    ``kind`` is ``generator``, ``teacher`` or another word; ``info`` are plain values to record (seed, steps, scores).
    """
    source = Path(source)
    if not source.is_file():
        raise AssetError(f"cannot register '{name}': no file {source}.")
    target = FOLDER / f"{name.replace('/', '-')}{source.suffix}"
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
    entry = {"file": target.name, "sha256": sha256(target), "kind": kind, "bytes": target.stat().st_size, **info}
    write_json(FOLDER / "manifest.json", dict(sorted({**list_assets(), name: entry}.items())))
    return target


@functools.lru_cache(maxsize=32)
def _hash_once(path: Path, modified: int, size: int) -> str:
    """Hash a file again only when its modification time or its size differs."""
    return sha256(path)
