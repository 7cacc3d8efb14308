"""Checks whether the settings of a run are safe to use.

``--ckpt_path RUN`` takes its settings from ``RUN/resolved.yaml``, and the run may come from somebody else. Settings can
name classes, functions and paths, so only those that our own runs contain are accepted. The check comes before anything
is built and imports nothing: a class is accepted only if it is already imported.

Settings that the user gives, on the command line or with ``--config``, are not checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union

from lightning import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from dife_lightning.errors import UsageError
from dife_lightning.running.configs import read_yaml
from dife_lightning.utils.run_folder import RESOLVED
from dife_lightning.weights.building import all_values, check_size

#: The option that skips this check.
FLAG = "--trust_run"
#: Lightning's classes that settings of a run may name -> the arguments they may set.
LIGHTNING: dict[str, frozenset[str]] = {
    name: frozenset(arguments.split())
    for name, arguments in {
        "EarlyStopping": "monitor min_delta patience verbose mode strict check_finite stopping_threshold "
        "divergence_threshold check_on_train_epoch_end log_rank_zero_only",
        "LearningRateMonitor": "logging_interval log_momentum log_weight_decay",
        "ModelCheckpoint": "dirpath monitor verbose save_last save_top_k save_weights_only mode every_n_epochs "
        "auto_insert_metric_name every_n_train_steps save_on_train_epoch_end enable_version_counter save_on_exception",
        "ModelSummary": "max_depth",
        "RichModelSummary": "max_depth",
        "RichProgressBar": "refresh_rate leave theme",
        "TQDMProgressBar": "refresh_rate process_position leave",
        "DeviceStatsMonitor": "cpu_stats",
        "Timer": "duration interval verbose",
        "CSVLogger": "save_dir name version prefix flush_logs_every_n_steps",
        "TensorBoardLogger": "save_dir name version log_graph default_hp_metric prefix sub_dir",
        "WandbLogger": "save_dir name version offline dir id anonymous project prefix add_file_policy",
        "MLFlowLogger": "save_dir experiment_name run_name tags prefix artifact_location",
    }.items()
}
_SECTIONS = ("seed_everything", "trainer", "model", "data")
#: Options of the trainer that can name classes of any library, or folders.
_LEFT_OUT = ("plugins", "model_registry", "default_root_dir")
#: Names such as ``gpu`` and ``16-mixed``; no class, function, path or text that could be read as YAML.
_WORD = re.compile(r"-?[a-z0-9][a-z0-9_:,-]*")
#: Arguments whose value is a place where something is written.
_PLACE = re.compile(r"(dir|path|file|folder|root|location)$")
_PACKAGES = ("dife_lightning.", "lightning.pytorch.")
_PLAIN_TYPES = (str, int, float, bool, NoneType, Path, list, dict, tuple)
#: Bytes of a resolved.yaml; one of this package has about 10,000.
_LARGEST = 1_000_000


def check_run(run: Path) -> None:
    """Check that the settings of a run are safe: known classes, plain values, writing only into the run.

    Accepted are methods, data modules and callbacks of this package and of modules that the user has imported, and the
    classes of :data:`LIGHTNING`. Paths that are only read, such as those of generators, may lie anywhere.

    Args:
        run: folder that holds ``resolved.yaml``.

    Raises:
        UsageError: naming the first class, path or value that is not accepted, and the option that trusts the run.
    """
    check_links(run)
    path = run / RESOLVED
    if path.stat().st_size > _LARGEST:
        raise UsageError(f"{path} has {path.stat().st_size:,} bytes, expected the settings of a run (about 10,000).")
    settings = read_yaml(path)
    check = _Check(run)
    check_size(settings, path)
    for key, value in settings.items():
        if key not in _SECTIONS:
            check.refuse(key, "is no setting of a run")
        elif key == "trainer":
            check.trainer(value)
        elif key == "seed_everything":
            check.plain(key, value)
        else:
            check.entry(key, value)


def check_links(run: Path) -> None:
    """Check that no symbolic link in a run leads out of it, so that nothing is written elsewhere.

    Raises:
        UsageError: naming the first such link.
    """
    for folder, folders, files in os.walk(run):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(run.resolve()):
                raise UsageError(f"{path} is a link that leads out of the run. If you trust the run, add {FLAG}.")


def check_arguments(cls: type[Any], arguments: Mapping[str, Any], source: Path) -> None:
    """Check arguments of a class that a file sets, as :func:`check_run` does for a run.

    Raises:
        UsageError: naming the first value that is not accepted.
    """
    check = _Check(source)
    check_size(arguments, source)
    check.arguments(cls.__name__, cls, arguments)


class _Check:
    def __init__(self, source: Path) -> None:
        self.source = source
        self.inside = source.resolve()

    def refuse(self, key: str, what: str) -> NoReturn:
        raise UsageError(f"{self.source}: '{key}' {what}. If you trust the author of the run, add {FLAG}.")

    def trainer(self, trainer: object) -> None:
        if not isinstance(trainer, Mapping):
            self.refuse("trainer", "is no mapping")
        for key, value in trainer.items():
            name = f"trainer.{key}"
            if key in ("callbacks", "logger"):
                for entry in value if isinstance(value, list) else [value]:
                    if entry is not None and not isinstance(entry, bool):
                        self.entry(name, entry, writes=True)
            elif key in _LEFT_OUT and value:
                self.refuse(name, f"is {value!r}, which is not taken from a run")
            else:
                for item, _ in all_values(value):
                    self.word(name, item)

    def word(self, key: str, value: object) -> None:
        """Refuse a string that the parser could read as a class or as a file of settings."""
        if isinstance(value, Mapping) and "class_path" in value:
            self.refuse(key, f"names the class {value['class_path']!r}")
        if isinstance(value, str):
            files = (Path(value), (self.inside / value))
            if not _WORD.fullmatch(value) or any(file.exists() for file in files):
                self.refuse(key, f"is {value!r}, which can name a class or a file")
        elif not isinstance(value, list | Mapping):
            self.plain(key, value)

    def entry(self, key: str, value: object, writes: bool = False) -> None:
        """Check a mapping of ``class_path`` and ``init_args``."""
        if not isinstance(value, Mapping) or not {"class_path"} <= value.keys() <= {"class_path", "init_args"}:
            self.refuse(key, "is no class_path with init_args")
        class_path, arguments = value["class_path"], value.get("init_args") or {}
        if not isinstance(class_path, str) or not isinstance(arguments, Mapping):
            self.refuse(key, "is no class_path with init_args")
        cls = _loaded_class(class_path)
        lightnings = cls is not None and cls.__module__.startswith("lightning.")
        known = LIGHTNING.get(class_path.rpartition(".")[2], frozenset()) if lightnings else None
        if cls is None or known == frozenset():
            self.refuse(key, f"names the class {class_path!r}, which is not ours and not imported by you")
        for name, argument in arguments.items():
            if known is not None and name not in known and argument not in (None, False, {}, []):
                self.refuse(f"{key}.{name}", f"of {cls.__name__} is {argument!r}, which is not taken from a run")
            if writes:
                self.places(f"{key}.{name}", argument)
        self.arguments(key, cls if known is None else None, arguments)

    def arguments(self, key: str, cls: type[Any] | None, arguments: Mapping[str, Any]) -> None:
        """Check that values are plain, or known classes where the argument takes classes."""
        types = {} if cls is None else _types(cls)
        for name, value in arguments.items():
            if isinstance(value, str) and cls is not None and not _takes_text(types.get(name, object)):
                self.refuse(f"{key}.{name}", f"is {value!r}, which can name a class, a function or a file")
            self.plain(f"{key}.{name}", value)

    def plain(self, key: str, value: object) -> None:
        if isinstance(value, Mapping):
            if "class_path" in value:
                self.entry(key, value)
                return
            for name, item in value.items():
                self.plain(f"{key}.{name}", item)
        elif isinstance(value, list | tuple):
            for item in value:
                self.plain(key, item)
        elif value is not None and not isinstance(value, str | int | float):
            self.refuse(key, f"is a {type(value).__name__}, expected a plain value")

    def places(self, key: str, value: object) -> None:
        """Refuse paths out of the run in arguments of callbacks and loggers, which write files."""
        for text in (item for item, _ in all_values(value) if isinstance(item, str)):
            path = Path(os.path.expanduser(text))
            leads_out = path.is_absolute() or ".." in path.parts or text.startswith("~")
            is_place = _PLACE.search(key) and not (key.endswith(".save_dir") and text == ".")  # which means the run
            if (leads_out or is_place) and not path.resolve().is_relative_to(self.inside):
                self.refuse(key, f"is {text!r}, a place outside the run")


def _loaded_class(class_path: str) -> type[Any] | None:
    """Return the imported class of a full path, or None; within its package a class may have moved."""
    module, _, name = class_path.rpartition(".")
    for cls in _subclasses(LightningModule, LightningDataModule, Callback, Logger):
        same_package = any(cls.__module__.startswith(p) and module.startswith(p) for p in _PACKAGES)
        if cls.__name__ == name and (same_package or cls.__module__ == module):
            return cls
    return None


def _subclasses(*bases: type[Any]) -> Iterator[type[Any]]:
    for base in bases:
        for cls in base.__subclasses__():
            yield cls
            yield from _subclasses(cls)


def _types(cls: type[Any]) -> dict[str, Any]:
    """Return argument -> type of a class and its bases (which it may pass arguments to)."""
    types: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        with contextlib.suppress(NameError, TypeError, AttributeError):  # unresolved types count as unknown
            types |= typing.get_type_hints(vars(base).get("__init__"))
    return types


def _takes_text(hint: Any) -> bool:
    """Return whether a type takes text as it is, and not as the name of a class, a function or a file."""
    members = typing.get_args(hint) if typing.get_origin(hint) in (Union, UnionType) else (hint,)
    return _is_plain(hint) and any(member in (str, Path) or typing.get_origin(member) is Literal for member in members)


def _is_plain(hint: Any) -> bool:
    parts = [] if typing.get_origin(hint) is Literal else [p for p in typing.get_args(hint) if p is not ...]
    plain = typing.get_origin(hint) is Literal or hint in _PLAIN_TYPES or dataclasses.is_dataclass(hint)
    return all(map(_is_plain, parts)) if parts else plain
