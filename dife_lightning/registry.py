"""Methods and datasets are found by looking into their folders.

Each public file or package of ``dife_lightning/methods`` defines one method and names its class in the constant
``METHOD``; ``dife_lightning/datasets`` does the same with ``DATASET``. The name that users type is the file's stem with
``-`` for ``_``. Listing imports nothing. A further folder appended to ``dife_lightning.methods.__path__`` is scanned
too, which is how a method can live outside this package.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean

#: Folder -> the constant by which a module in it names its class.
_CONSTANTS = {"methods": "METHOD", "datasets": "DATASET"}
#: Modules whose classes users may have named in configurations by their full path -> where they live now.
FORMER_MODULES = {
    "dife_lightning.data.world_pairs": "dife_lightning.data.world.pairs",
    "dife_lightning.data.world_renders": "dife_lightning.data.world.renders",
    "dife_lightning.data.clicks": "dife_lightning.data.world.clicks",
    "dife_lightning.data.face_pairs": "dife_lightning.data.photos.face_pairs",
}


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
    return _get("methods", name)


def methods_by_class() -> dict[str, type[Any]]:
    """Return class name -> class of all methods, as configurations name them."""
    return {cls.__name__: cls for cls in map(get_method, list_methods())}


def get_dataset(name: str) -> type[Any]:
    """Return the class of a dataset.

    Raises:
        ConfigError: ``name`` is not a dataset.
    """
    return _get("datasets", name)


def method_name(cls: type[Any]) -> str | None:
    """Return the name under which ``cls`` is registered, or None for a class that is no registered method."""
    package, _, rest = cls.__module__.partition(".methods.")
    name = rest.partition(".")[0].replace("_", "-")
    if package != "dife_lightning" or name not in _scan("methods"):
        return None
    return name if get_method(name) is cls else None


def import_all(*folders: str) -> None:
    """Import every public module of the given sub-packages, so that short class names work in configuration files."""
    for folder in folders:
        package = importlib.import_module(f"dife_lightning.{folder}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "._" not in module.name:
                importlib.import_module(module.name)


def _scan(folder: str) -> dict[str, str]:
    """Map user names to module names for the public files and packages of ``dife_lightning/<folder>``."""
    package = importlib.import_module(f"dife_lightning.{folder}")
    roots = [Path(root) for root in package.__path__]
    stems = [file.stem for root in roots for file in root.glob("*.py")]
    inits = (init for root in roots for init in root.glob("*/__init__.py"))
    stems += [init.parent.name for init in inits if f"\n{_CONSTANTS[folder]} = " in init.read_text(encoding="utf-8")]
    return {s.replace("_", "-"): f"dife_lightning.{folder}.{s}" for s in stems if not s.startswith("_")}


def _get(folder: str, name: str) -> type[Any]:
    """Import the module of ``name`` and return the class that its constant names."""
    constant, modules = _CONSTANTS[folder], _scan(folder)
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
