"""Methods and datasets are found by looking into their folders.

Each public file or package of ``dife_lightning/methods`` defines one method and names its class in the constant
``METHOD``; ``dife_lightning/datasets`` does the same with ``DATASET``. The name that users type is the file's stem with
``-`` for ``_``; the class name works as well. Listing imports nothing.

Methods and datasets of your own live in a file anywhere (``--import my_method.py``, :func:`import_own`) or in an
installed package that names its module in the entry-point group ``dife_lightning.plugins``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from dife_lightning.errors import ConfigError, UsageError, did_you_mean, reason_of

#: Folder -> the constant by which a module in it names its class.
_CONSTANTS = {"methods": "METHOD", "datasets": "DATASET"}
#: Entry-point group of installed packages that bring methods, datasets or callbacks.
PLUGINS = "dife_lightning.plugins"
#: Folder -> name -> module, of what was imported from elsewhere.
_OWN: dict[str, dict[str, str]] = {folder: {} for folder in _CONSTANTS}
#: Modules whose classes users may have named in configurations by their full path -> where they live now.
FORMER_MODULES = {
    "dife_lightning.data.world_pairs": "dife_lightning.data.world.pairs",
    "dife_lightning.data.world_renders": "dife_lightning.data.world.renders",
    "dife_lightning.data.clicks": "dife_lightning.data.world.clicks",
    "dife_lightning.data.face_pairs": "dife_lightning.data.photos.face_pairs",
}
#: Options that version 0.1 had, with the value that is in force today (... where any value gives the same results).
_FORMER_OPTIONS: dict[str, dict[str, object]] = {
    "distillation": {"mask": True},
    "matching_loss": {"window": ..., "chunk": ..., "reliable": 1.0},
    "exploration": {"threshold": 0.0},
    "pairs": {"keep": 1.0, "chunk": ...},
}


def list_methods() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(_scan("methods"))


def list_datasets() -> list[str]:
    """Return the names of all datasets, sorted."""
    return sorted(_scan("datasets"))


def get_method(name: str) -> type[Any]:
    """Return the LightningModule class of a method; ConfigError if there is none of that name."""
    return _get("methods", name)


def methods_by_class() -> dict[str, type[Any]]:
    """Return class name -> class of all methods, as configurations name them."""
    return {cls.__name__: cls for cls in map(get_method, list_methods())}


def get_dataset(name: str) -> type[Any]:
    """Return the class of a dataset; ConfigError if there is none of that name."""
    return _get("datasets", name)


def method_name(cls: type[Any]) -> str | None:
    """Return the name under which ``cls`` is registered, or None for a class that is no registered method."""
    for name, module in _scan("methods").items():
        if cls.__module__ == module or cls.__module__.startswith(f"{module}."):
            return name if get_method(name) is cls else None
    return None


def method_classes() -> dict[str, str]:
    """Return the name of each method and of its class, read from the files; nothing is imported."""
    return _class_names("methods")


def _class_names(folder: str) -> dict[str, str]:
    found = {name: _constant_of(module, _CONSTANTS[folder]) for name, module in _scan(folder).items()}
    return {name: text for name, text in found.items() if text is not None}


def _constant_of(module: str, constant: str) -> str | None:
    """Return the constant of a module, read from its file if the module is not imported."""
    if module in sys.modules:
        return getattr(sys.modules[module], constant, None)
    spec = importlib.util.find_spec(module)
    text = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin else ""
    match = re.search(rf"""^{constant} = ["'](\w+)["']""", text, re.MULTILINE)
    return match[1] if match else None


def imported_classes() -> list[type[Any]]:
    """Return the imported methods, data modules and callbacks, without those of Lightning."""
    if "lightning" not in sys.modules:
        return []
    from lightning import Callback, LightningDataModule, LightningModule

    found: dict[type[Any], None] = {}
    todo: list[type[Any]] = [LightningModule, LightningDataModule, Callback]
    while todo:
        new = [cls for cls in todo.pop().__subclasses__() if cls not in found]
        found.update(dict.fromkeys(new))
        todo += new
    return [cls for cls in found if not cls.__module__.startswith("lightning.")]


def find_class(name: str) -> type[Any] | None:
    """Return an imported method, data module or callback by its full path or its class name; None if there is none.

    A class of this package is found under any module of the package, since classes have moved.
    """
    module, _, name = name.rpartition(".")
    for cls in imported_classes():
        ours = module.startswith("dife_lightning.") and cls.__module__.startswith("dife_lightning.")
        if cls.__name__ == name and (ours or module in ("", cls.__module__)):
            return cls
    return None


def import_own(name: str) -> ModuleType:
    """Import a ``.py`` file or an installed module; its classes can then be named in configurations and checkpoints.

    A constant METHOD or DATASET in it registers the class under the file's name, as in this package. UsageError if
    there is no such file or module, its name is that of another module, or it cannot be imported.
    """
    path = Path(os.path.expanduser(name))
    if path.suffix == ".py" and not path.is_file():
        raise UsageError(f"--import {name}: no such file.")
    module_name = path.stem if path.suffix == ".py" else name
    try:
        if path.suffix == ".py":
            _make_importable(path)
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UsageError(f"--import {name}: cannot be imported ({reason_of(error)}).") from error
    _register(module)
    return module


def _make_importable(path: Path) -> None:
    """Let a file be imported by its stem, also in the processes that load data."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(path.stem)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != path.resolve():
        raise ImportError(f"another module is called '{path.stem}'; rename the file")


def _register(module: ModuleType) -> None:
    for folder, constant in _CONSTANTS.items():
        if hasattr(module, constant):
            stem = module.__name__.rpartition(".")[2]
            _OWN[folder][stem.replace("_", "-")] = module.__name__


@functools.cache
def import_plugins() -> None:
    """Import the modules of the entry-point group ``dife_lightning.plugins``, once.

    ConfigError if one of them cannot be imported.
    """
    for entry in entry_points(group=PLUGINS):
        try:
            _register(importlib.import_module(entry.module))
        except Exception as error:
            package = entry.dist.name if entry.dist else "?"
            raise ConfigError(
                f"the plugin '{entry.name}' of the package {package} cannot be imported ({reason_of(error)}). "
                f"Repair or uninstall {package}."
            ) from error


def import_all(*folders: str) -> None:
    """Import every public module of the given sub-packages, so that short class names work in configuration files."""
    for folder in folders:
        package = importlib.import_module(f"dife_lightning.{folder}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "._" not in module.name:
                importlib.import_module(module.name)
    import_plugins()


def _scan(folder: str) -> dict[str, str]:
    """Map user names to module names for the public files and packages of ``dife_lightning/<folder>``."""
    import_plugins()
    package = importlib.import_module(f"dife_lightning.{folder}")
    shipped = {}
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        stem = info.name.rpartition(".")[2]
        if not stem.startswith("_") and (not info.ispkg or _constant_of(info.name, _CONSTANTS[folder])):
            shipped[stem.replace("_", "-")] = info.name
    return {**_OWN[folder], **shipped}


def _get(folder: str, name: str) -> type[Any]:
    """Import the module of ``name`` and return the class that its constant names."""
    constant, modules = _CONSTANTS[folder], _scan(folder)
    if name not in modules:
        name = {value: key for key, value in _class_names(folder).items()}.get(name, name)
    if name not in modules:
        raise ConfigError(f"unknown {constant.lower()} '{name}'. {did_you_mean(name, modules)}")
    module = importlib.import_module(modules[name])
    class_name = getattr(module, constant, None)
    if not isinstance(class_name, str) or not isinstance(getattr(module, class_name, None), type):
        raise ConfigError(f"{modules[name]} has no constant {constant} naming its class. Add {constant} = 'ClassName'.")
    cls: type[Any] = getattr(module, class_name)
    return cls


class _FormerModules(MetaPathFinder, Loader):
    """Imports a module by its former name, so that configurations and checkpoints of older versions keep working."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Answer for the modules of :data:`FORMER_MODULES` alone."""
        return ModuleSpec(fullname, self) if fullname in FORMER_MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill ``module`` with the names of the one that took its place, and say so once."""
        place = FORMER_MODULES[module.__name__]
        print(
            f"note: {module.__name__} is now {place}; a class name alone, without module, always works", file=sys.stderr
        )
        vars(module).update({k: v for k, v in vars(importlib.import_module(place)).items() if not k.startswith("__")})


sys.meta_path.append(_FormerModules())


def without_former_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a method without those options of version 0.1 that change nothing."""

    def kept(group: str, options: Any) -> Any:
        former = _FORMER_OPTIONS.get(group)
        if former is None or not isinstance(options, Mapping):
            return options
        return {k: v for k, v in options.items() if k not in former or former[k] not in (..., v)}

    return {group: kept(group, options) for group, options in settings.items()}
