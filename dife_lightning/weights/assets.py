"""Files shipped with the package, found by name: generators, teachers and trained methods.

They are in ``dife_lightning/assets``. Its ``manifest.json`` gives file, SHA-256, version, kind and remarks of each:
``terms`` (such as "non-commercial research"), ``data`` (names of the data sets it was trained on) and ``notice`` (a
text file beside the weights) among them.
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
#: Assets of the embedded world were trained on this project's own renders, so they have the licence of its code.
_WORLD, CODE_LICENCE = "world/", "Apache-2.0"


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


def asset_terms(name: str) -> str:
    """Return the terms of a shipped asset in a few words."""
    return str(list_assets()[name].get("terms") or (CODE_LICENCE if name.startswith(_WORLD) else "not stated"))


def asset_notice(name: str) -> str:
    """Return the notice that is shipped beside an asset, in full; empty if there is none.

    Raises:
        AssetError: there is no such asset, or its notice is missing.
    """
    entries = list_assets()
    if name not in entries:
        raise AssetError(f"no asset '{name}'. {did_you_mean(name, entries)}")
    file = entries[name].get("notice")
    if not file:
        return ""
    path = FOLDER / file
    if not path.is_file():
        raise AssetError(f"asset '{name}': its notice {path} is missing; reinstall.")
    return path.read_text(encoding="utf-8")


def register_asset(name: str, source: str | Path, kind: str, *, notice: str | Path | None = None, **info: Any) -> Path:
    """Copy ``source`` into the shipped assets and record it; an older one of that name is replaced.

    The record has a ``version``, 1 at first, which rises whenever the weights of a name change.

    Args:
        name: such as ``world/dog`` or ``photos/dife``.
        source: file of the weights.
        kind: ``generator``, ``teacher`` or another word.
        notice: text file that is shipped beside the weights, such as the model card of `dife card`.
        **info: plain values to record (seed, steps, scores). An asset that is not of the embedded world needs ``terms``
            (a few words) and ``data`` (names of the data sets that it was trained on), because its data is not ours.

    Raises:
        AssetError: a file is missing, or ``terms``, ``data`` or ``notice``.
    """
    source = Path(source)
    target = FOLDER / f"{name.replace('/', '-')}{source.suffix}"
    copies = {target: source}
    if notice is not None:
        copies[target.with_suffix(".md")] = Path(notice)
        info["notice"] = target.with_suffix(".md").name
    for path in copies.values():
        if not path.is_file():
            raise AssetError(f"cannot register '{name}': no file {path}.")
    check_terms(name, info)
    for place, path in copies.items():
        with atomic_write(place) as temporary:
            shutil.copyfile(path, temporary)
    entries, found = list_assets(), sha256(target)
    former = entries.get(name, {"version": 0})
    version = former.get("version", 1) + (former.get("sha256") != found)
    entry = {"file": target.name, "sha256": found, "version": version, "kind": kind, "bytes": target.stat().st_size}
    write_json(FOLDER / "manifest.json", dict(sorted({**entries, name: entry | info}.items())))
    return target


def check_terms(name: str, entry: dict[str, Any]) -> None:
    """Check that an asset trained on data of others says on which, and under which terms it may be used.

    Raises:
        AssetError: it does not.
    """
    missing = [key for key in ("terms", "data", "notice") if not entry.get(key)]
    if missing and not name.startswith(_WORLD):
        raise AssetError(f"asset '{name}' has no {', '.join(missing)}; give its terms, its data sets and a notice.")


@functools.lru_cache(maxsize=32)
def _hash_once(path: Path, modified: int, size: int) -> str:
    """Hash a file again only when its modification time or its size differs."""
    return sha256(path)
