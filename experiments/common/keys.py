"""Keys of results. A result is made again only if its key has changed, never because of a new commit.

A key holds what decides a result: settings that differ from the defaults, the hashes of generators, teacher and pair
lists, and the versions of the method and of the world.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dife_lightning.errors import DifeError
from dife_lightning.registry import without_former_options
from dife_lightning.utils.files import sha256
from dife_lightning.weights.assets import list_assets
from dife_lightning.weights.checkpoints import find_weights
from dife_lightning.weights.user_paths import PREFIX, list_own_files

Key = dict[str, Any]
#: Settings of the trainer that decide the length of a training and when it is validated; always part of a key.
_LENGTH = ("max_steps", "max_epochs", "val_check_interval")
#: Further settings of the trainer that decide a result, with values that are not written into a key. All committed
#: records were made with these. ``auto`` depends on the machine: what it chose is in the run's ``environment.json``.
_TRAINER: dict[str, tuple[Any, ...]] = {
    "precision": ("auto",),
    "accumulate_grad_batches": (1,),
    "gradient_clip_val": (0, 0.0),
    "gradient_clip_algorithm": (),
    "devices": ("auto", 1, "1"),
    "num_nodes": (1,),
    "strategy": ("auto",),
    "sync_batchnorm": (False,),
    "use_distributed_sampler": (True,),
    "min_steps": (),
    "min_epochs": (),
    "max_time": (),
    "limit_train_batches": (1.0,),
    "limit_val_batches": (1.0,),
    "overfit_batches": (0.0,),
    "fast_dev_run": (False,),
    "plugins": ([],),
}
#: Callbacks that only watch or that every shipped configuration has; others, such as EarlyStopping, decide a result.
_WATCHING = (
    "KeypointTransfer", "LandmarkError", "StageTimer", "StageCheckpoint", "ResourceLog", "SampleSheet",
    "LearningRateMonitor", "DeviceStatsMonitor", "TQDMProgressBar", "RichProgressBar",
    "ModelSummary", "RichModelSummary",
)  # fmt: skip


def training_key(settings: Mapping[str, Any], versions: Mapping[str, int]) -> Key:
    """Return the key of a training: settings that differ from the defaults, asset hashes, versions.

    Logging and display do not count, nor does an option that was added later and is left at its default. Whoever
    changes a default raises the version of the method.
    """
    key = settings_key(settings)
    return key | _plain({"assets": asset_hashes(key) | own_hashes(key), "versions": versions})


def settings_key(settings: Mapping[str, Any], free: Sequence[str] = (), wanted: Key | None = None) -> Key:
    """Return the part of a key that comes from settings alone.

    Args:
        settings: all settings of a training.
        free: dotted names that do not count.
        wanted: the key to compare with. A run records the precision that ``auto`` chose; it does not count where this
            key leaves the choice to the machine.
    """
    kept: dict[str, Any] = {"seed_everything": settings.get("seed_everything")}
    kept |= {part: non_default(settings.get(part) or {}) for part in ("model", "data")}
    kept["trainer"] = _trainer_key(settings.get("trainer") or {})
    if wanted is not None and "precision" not in wanted["settings"]["trainer"]:
        kept["trainer"].pop("precision", None)
    for name in free:
        *path, last = name.split(".")
        place = kept
        for part in path:
            place = place.get(part, {})
        place.pop(last, None)
    return _plain({"settings": kept})


def _trainer_key(trainer: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: trainer.get(name) for name in _LENGTH}
    for name, usual in _TRAINER.items():
        if trainer.get(name) is not None and trainer[name] not in usual:
            kept[name] = trainer[name]
    callbacks = trainer.get("callbacks") or []
    found = [non_default(one) for one in (callbacks if isinstance(callbacks, list) else [callbacks])]
    found = [one for one in found if one["class_path"] not in _WATCHING]
    return kept | ({"callbacks": found} if found else {})


def comparable(found: Key, settings: Mapping[str, Any], wanted: Key) -> Key:
    """Return the key of an older run, completed by trainer settings that keys did not hold at that time.

    Args:
        found: the key that was written down.
        settings: all settings of that run.
        wanted: the key to compare with; what it does not name is left as it was.
    """
    if "settings" not in found or "settings" not in wanted:
        return found
    own, named = _trainer_key(settings.get("trainer") or {}), wanted["settings"]["trainer"]
    trainer = {name: _plain(value) for name, value in own.items() if name in named}
    return found | {"settings": found["settings"] | {"trainer": trainer | found["settings"]["trainer"]}}


def non_default(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a class name with the arguments that differ from their defaults."""
    class_path, given = str(part.get("class_path", "")), without_former_options(part.get("init_args") or {})
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
            found[key] = non_default(value)
        elif key not in defaults or value != default:
            found[key] = value
    return found


def _plain(value: Any) -> Any:
    """Return options and tuples in the form that JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def asset_hashes(settings: Any) -> dict[str, str]:
    """Return name -> SHA-256 of every shipped asset that ``settings`` name."""
    entries = list_assets()
    return {name: entries[name]["sha256"] for name in sorted(set(_strings(settings)) & set(entries))}


def own_hashes(settings: Any) -> dict[str, str]:
    """Return name -> SHA-256 of the weights that each ``own/...`` name in ``settings`` stands for, a file or a run."""
    found = {}
    for name in own_names(settings):
        with contextlib.suppress(DifeError):  # a folder of pictures, or missing
            path = find_weights(name)
            found[name] = _sha256(path, path.stat().st_mtime_ns)
    return found


def own_names(settings: Any) -> list[str]:
    """Return every ``own/...`` name in ``settings``."""
    return sorted({text for text in _strings(settings) if text.startswith(PREFIX)})


@lru_cache(maxsize=64)
def _sha256(path: Path, changed: int) -> str:
    return sha256(path)


def file_hashes(arguments: Any) -> dict[str, str]:
    """Return name -> SHA-256 of every file that ``arguments`` name by its path or as ``own/...``, a run there too."""
    own = list_own_files()
    paths = {text: own.get(text, Path(text)).expanduser() for text in _strings(arguments) if text}
    found = {text: sha256(path) for text, path in sorted(paths.items()) if path.is_file()}
    return own_hashes(arguments) | found


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
    data: Mapping[str, Any],
    window: float | None = None,  # noqa: PT028 - not a test
) -> Key:
    """Return the key of a test: weights or settings, files that these name, pair lists, number of pairs, versions.

    ``data`` is what else decides the images (``Measure.images``), ``window`` that of the read-out.
    """
    weights = None if checkpoint is None else sha256(checkpoint)
    assets = asset_hashes(arguments) | file_hashes(arguments)
    found: dict[str, Any] = {"checkpoint": weights, "arguments": dict(arguments), "assets": assets}
    found |= {} if first is None else {"first": first}
    found |= {"data": dict(data)} if data else {}
    found |= {"window": window} if window else {}
    return dict(json.loads(json.dumps({**found, "lists": dict(lists), "versions": dict(versions)})))


def changes(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return the dotted names of the differences between two keys; classes are compared by name alone."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [text for name in names for text in changes(old.get(name), new.get(name), f"{prefix}.{name}")]
    if prefix.endswith(".class_path"):
        old, new = (str(path).rpartition(".")[2] for path in (old, new))
    return [] if old == new else [prefix.lstrip(".")]
