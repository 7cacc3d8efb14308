"""Methods and datasets are found by looking into their folders.

Each public file of ``dife_lightning/methods`` defines one method and names its class in the constant ``METHOD``;
each public file of ``dife_lightning/datasets`` does the same with ``DATASET``. The name that users type is the
file's stem with ``-`` for ``_``. Listing imports nothing. A further folder appended to
``dife_lightning.methods.__path__`` is scanned too, which is how a method can live outside this package.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean


def list_methods() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(_scan("methods"))


def list_datasets() -> list[str]:
    """Return the names of all datasets, sorted."""
    return sorted(_scan("datasets"))


def get_method(name: str) -> type[Any]:
    """Return the LightningModule class of a method.

    Raises:
        ConfigError: ``name`` is not a method.
    """
    return _get("methods", "METHOD", name)


def methods_by_class() -> dict[str, type[Any]]:
    """Return class name -> class of all methods, as configurations name them."""
    return {cls.__name__: cls for cls in map(get_method, list_methods())}


def get_dataset(name: str) -> type[Any]:
    """Return the class of a dataset.

    Raises:
        ConfigError: ``name`` is not a dataset.
    """
    return _get("datasets", "DATASET", name)


def method_name(cls: type[Any]) -> str | None:
    """Return the name under which ``cls`` is registered, or None for a class that is no registered method."""
    package, _, stem = cls.__module__.rpartition(".")
    name = stem.replace("_", "-")
    if package != "dife_lightning.methods" or name not in _scan("methods"):
        return None
    return name if get_method(name) is cls else None


def import_all(*folders: str) -> None:
    """Import every public module of the given sub-packages, so that short class names work in configuration files."""
    for folder in folders:
        for module in _scan(folder).values():
            importlib.import_module(module)


def _scan(folder: str) -> dict[str, str]:
    """Map user names to module names for the public files of ``dife_lightning/<folder>``."""
    package = importlib.import_module(f"dife_lightning.{folder}")
    files = (file for root in package.__path__ for file in Path(root).glob("*.py"))
    stems = (file.stem for file in files if not file.stem.startswith("_"))
    return {stem.replace("_", "-"): f"dife_lightning.{folder}.{stem}" for stem in stems}


def _get(folder: str, constant: str, name: str) -> type[Any]:
    """Import the module of ``name`` and return the class that its ``constant`` names."""
    modules = _scan(folder)
    if name not in modules:
        raise ConfigError(f"unknown {constant.lower()} '{name}'. {did_you_mean(name, modules)}")
    module = importlib.import_module(modules[name])
    class_name = getattr(module, constant, None)
    if not isinstance(class_name, str) or not isinstance(getattr(module, class_name, None), type):
        raise ConfigError(f"{modules[name]} has no constant {constant} naming its class. Add {constant} = 'ClassName'.")
    cls: type[Any] = getattr(module, class_name)
    return cls
