"""When a result must be made again: only if what decides it has changed, never for a mere commit.

Of each part a small file records what decided it: the resolved settings, the hashes of generators, teacher and pair
lists, the version of the method and of the world. A part whose record says the same is kept.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from dife_lightning.utils.files import sha256, write_json
from dife_lightning.weights.assets import list_assets

Key = dict[str, Any]


def training_key(settings: Mapping[str, Any], versions: Mapping[str, int]) -> Key:
    """Return what decides a training: settings that differ from the defaults, asset hashes, versions.

    Logging and display do not count, nor does an option that came later and is left at its default. A default that
    changes is a new version of the method.
    """
    trainer = settings.get("trainer") or {}
    kept: dict[str, Any] = {"seed_everything": settings.get("seed_everything")}
    kept |= {part: spoken(settings.get(part) or {}) for part in ("model", "data")}
    kept["trainer"] = {name: trainer.get(name) for name in ("max_steps", "max_epochs", "val_check_interval")}
    return json.loads(json.dumps({"settings": kept, "assets": asset_hashes(kept), "versions": dict(versions)}))


def spoken(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a class name with those of its arguments that are not at their defaults."""
    class_path, given = str(part.get("class_path", "")), part.get("init_args") or {}
    module, _, name = class_path.rpartition(".")
    defaults: dict[str, Any] = {}
    if module:
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        defaults = {key: _plain(p.default) for key, p in parameters.items() if p.default is not inspect.Parameter.empty}
    return {"class_path": name, "init_args": _differing(_plain(given), defaults)}


def _differing(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in given.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            value = _differing(value, default)
            if value:
                found[key] = value
        elif isinstance(value, dict) and "class_path" in value:
            found[key] = spoken(value)
        elif key not in defaults or value != default:
            found[key] = value
    return found


def _plain(value: Any) -> Any:
    """Return options and tuples as JSON would give them back."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def asset_hashes(settings: Any) -> dict[str, str]:
    """Return name -> SHA-256 of every shipped asset that ``settings`` name."""
    entries = list_assets()
    return {name: entries[name]["sha256"] for name in sorted(set(_strings(settings)) & set(entries))}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def testing_key(
    checkpoint: Path | None,
    arguments: Mapping[str, Any],
    lists: Mapping[str, str],
    versions: Mapping[str, int],
    first: int | None,
) -> Key:
    """Return what decides a test: weights or settings, pair lists and how many pairs of them, versions."""
    weights = None if checkpoint is None else sha256(checkpoint)
    found = {"checkpoint": weights, "arguments": dict(arguments), "assets": asset_hashes(arguments)}
    found |= {} if first is None else {"first": first}
    return json.loads(json.dumps({**found, "lists": dict(lists), "versions": dict(versions)}))


@dataclass(frozen=True)
class Cell:
    """A part that is made once: the file that records it, and what decides it."""

    path: Path
    key: Key

    def state(self) -> tuple[str, str]:
        """Return ``finished``, ``interrupted``, ``changed`` or ``new``, and what changed."""
        if not self.path.is_file():
            return "new", ""
        found = json.loads(self.path.read_text(encoding="utf-8"))
        if differing := changes(found["key"], self.key):
            return "changed", ", ".join(differing[:3])
        return ("finished" if found["finished"] else "interrupted"), ""

    def write(self, *, finished: bool) -> None:
        """Write down what decides the part, and whether it is complete."""
        write_json(self.path, {"finished": finished, "key": self.key})


def changes(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return the dotted names of what differs between two keys; classes are compared by name, wherever they live."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [text for name in names for text in changes(old.get(name), new.get(name), f"{prefix}.{name}")]
    if prefix.endswith(".class_path"):
        old, new = (str(path).rpartition(".")[2] for path in (old, new))
    return [] if old == new else [prefix.lstrip(".")]
