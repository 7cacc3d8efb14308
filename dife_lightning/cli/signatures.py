"""Names of classes, arguments and class attributes, read from source files without importing them."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def trainer_parameters() -> frozenset[str]:
    """Return the arguments of Lightning's Trainer."""
    spec = importlib.util.find_spec("lightning")
    assert spec is not None
    path = Path((spec.submodule_search_locations or [""])[0], "pytorch", "trainer", "trainer.py")
    return _arguments(_class_in(path, "Trainer")) or frozenset()


@functools.cache
def _files() -> dict[str, Path]:
    """Return class name -> file of the methods, data modules and callbacks of this package, and of their bases."""
    found = {}
    for folder in ("callbacks", "data", "methods"):
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            names = re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            found.update(dict.fromkeys(names, path))
    return found


def class_names() -> list[str]:
    """Return the names of the public classes in the folders of methods, data modules and callbacks."""
    return sorted(name for name in _files() if not name.startswith("_"))


def parameters_of(name: str) -> frozenset[str] | None:
    """Return the arguments of a class of this package; None if its source does not name them all."""
    node = _node(name)
    if node is None:
        return None
    own = any(isinstance(item, ast.FunctionDef) and item.name == "__init__" for item in node.body)
    return _arguments(node) if own else _of_bases(node, parameters_of)


def attribute_of(name: str, attribute: str) -> Any:
    """Return a plain class attribute of a class of this package, its own or inherited; None if there is none."""
    node = _node(name)
    if node is None:
        return None
    for item in node.body:
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        value = getattr(item, "value", None)
        if isinstance(value, ast.Constant) and any(isinstance(t, ast.Name) and t.id == attribute for t in targets):
            return value.value
    return _of_bases(node, lambda base: attribute_of(base, attribute))


def _of_bases(node: ast.ClassDef, look_up: Any) -> Any:
    found = (look_up(base.id) for base in node.bases if isinstance(base, ast.Name))
    return next((value for value in found if value is not None), None)


def _node(name: str) -> ast.ClassDef | None:
    return _class_in(_files()[name], name) if name in _files() else None


@functools.cache
def _class_in(path: Path, name: str) -> ast.ClassDef:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _arguments(node: ast.ClassDef) -> frozenset[str] | None:
    init = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    if init.args.kwarg is not None:
        return None
    return frozenset(argument.arg for argument in init.args.args[1:] + init.args.kwonlyargs)
