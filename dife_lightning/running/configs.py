"""Configuration files: found by path or shipped name, and merged with the configurations that they extend.

A file that starts with ``base: NAME`` (or a list of names) extends other configurations: it states only what differs.
``NAME`` is a shipped configuration, or a file beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.errors import UsageError, did_you_mean
from dife_lightning.registry import method_classes, without_former_options
from dife_lightning.utils.yaml_text import load_yaml

_SUFFIXES = (".yaml", ".yml", ".json")
#: Shipped files that are for `dife sweep`, not for --config.
_NO_CONFIGS = "sweeps/"
_CONFIG_OPTIONS = ("-c", "--config")
#: Sections that hold a class, and the keys of such a section.
_CLASSES, _CLASS_KEYS = ("model", "data"), ("class_path", "init_args", "dict_kwargs", "help")
#: Key of the configurations that a file extends.
BASE = "base"


def packaged_configs() -> Path:
    """Return the folder of shipped configurations: inside the installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def list_configs() -> list[str]:
    """Return the names of the shipped configurations, such as ``world/human_dog``.

    Files whose name starts with ``_`` are only extended by others and are not listed.
    """
    root = packaged_configs()
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(_NO_CONFIGS) and "/_" not in name)


def find_config(name: str) -> Path:
    """Return the file of a path or of a shipped configuration's name.

    Raises:
        UsageError: there is neither, or the file or one that it extends is not valid.
    """
    path = find_file(name, "configuration", list_configs)
    read_config(path)
    return path


def find_file(name: str, what: str, known: Callable[[], Iterable[str]], folder: Path = Path()) -> Path:
    """Return the file of a path, relative to ``folder``, or of a shipped name.

    Args:
        name: what to find.
        what: what the file is, for the message.
        known: returns the shipped names, for the message.
        folder: where a relative path starts.

    Raises:
        UsageError: there is neither.
    """
    shipped = packaged_configs()
    own = folder / os.path.expanduser(name)
    for path in (own, shipped / name, *(shipped / f"{name}{end}" for end in _SUFFIXES)):
        if path.is_file():
            return path
    raise UsageError(f"no {what} '{name}', neither a file nor a shipped name. {did_you_mean(name, known())}")


def read_config(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the content of a configuration file, merged with the configurations that it extends.

    Args:
        path: of the file.
        extended_by: the files that extend this one.

    Raises:
        UsageError: it is not valid YAML, extends a missing configuration, or extends itself.
    """
    content = read_yaml(path)
    bases, model = content.pop(BASE, []), content.get("model")
    if isinstance(model, dict) and isinstance(model.get("init_args"), Mapping):
        model["init_args"] = without_former_options(model["init_args"])
    if path.resolve() in extended_by:
        raise UsageError(f"{path} extends itself; remove its '{BASE}:' or that of {extended_by[-1]}.")
    found: dict[str, Any] = {}
    for name in bases if isinstance(bases, list) else [bases]:
        try:
            base = find_file(str(name), "configuration", list_configs, path.parent)
        except UsageError as error:
            raise UsageError(f"{path}: '{BASE}: {name}': {error}") from None
        found = merged(found, read_config(base, (*extended_by, path.resolve())))
    return merged(found, content)


def load_config(name: str) -> dict[str, Any]:
    """Read a configuration by path or shipped name; see :func:`read_config`."""
    return read_config(find_config(name))


def merged(below: Mapping[str, Any], above: Mapping[str, Any], one_class: bool = True) -> dict[str, Any]:
    """Return ``below`` with the settings of ``above``, level by level.

    Args:
        below: settings.
        above: settings that win.
        one_class: drop arguments of ``below``, if it names a class, where ``above`` names another one.
    """
    named = below.get("class_path")
    if one_class and named is not None and above.get("class_path", named) != named:
        return dict(above)
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value, one_class) if both else value
    return found


def resolve_configs(args: list[str]) -> tuple[list[str], list[str]]:
    """Replace the names after ``-c`` / ``--config`` by paths.

    Returns:
        The arguments with paths, and the names as they were given.
    """
    names: list[str] = []

    def path_of(name: str) -> str:
        names.append(name)
        return str(find_config(name))

    return _map_option(args, _CONFIG_OPTIONS, path_of), names


def options_of(args: Iterable[str]) -> list[tuple[str, str | None]]:
    """Return the options among ``args`` with their values (``--name value`` or ``--name=value``), None for a switch."""
    found: list[tuple[str, str | None]] = []
    for word in args:
        if word.startswith("--") or word.split("=")[0] in _CONFIG_OPTIONS:
            option, equals, value = word.partition("=")
            found.append((option, value if equals else None))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0], word)
    return found


def option_value(args: list[str], option: str) -> str | None:
    """Return the last value given to an option, or None."""
    values = [value for name, value in options_of(args) if name == option]
    return values[-1] if values else None


def given_settings(args: list[str], of_last_class: bool = False) -> dict[str, Any]:
    """Return the settings that a command gives, without defaults; later files and options win.

    Args:
        args: words after the verb, configurations as paths.
        of_last_class: drop arguments that were given for an earlier class. (The parser keeps those that the last
            class takes as well.)

    Returns:
        As in a configuration file. A class is always a mapping with ``class_path``.
    """
    found: dict[str, Any] = {}
    for option, value in options_of(args):
        name = option.lstrip("-").removesuffix("+")
        if option in _CONFIG_OPTIONS and value is not None:
            above = {key: _as_class(key, item) for key, item in read_config(Path(value)).items()}
        else:
            above = _nested(name.split("."), value)
        found = merged(found, above, of_last_class)
    return found


def _nested(keys: list[str], text: str | None) -> dict[str, Any]:
    """Return ``{"model": {"init_args": {"lr": 3}}}`` for ``--model.lr 3``."""
    if keys[0] in _CLASSES and len(keys) > 1 and keys[1] not in _CLASS_KEYS:
        keys = [keys[0], "init_args", *keys[1:]]
    try:
        value = load_yaml(text) if text is not None else True
    except yaml.YAMLError:
        value = text
    found: dict[str, Any] = {keys[-1]: _as_class(keys[0], value) if len(keys) == 1 else value}
    for key in reversed(keys[:-1]):
        found = {key: found}
    return found


def _as_class(key: str, value: Any) -> Any:
    if key not in _CLASSES or not isinstance(value, str):
        return value
    return read_yaml(Path(value)) if Path(value).is_file() else {"class_path": value}


def with_class_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Replace method names, as ``dife methods`` prints them, by class names in settings."""
    names = method_classes()
    found = dict(settings)
    for key in _CLASSES:
        value = _as_class(key, found.get(key))
        if isinstance(value, Mapping) and value.get("class_path") in names:
            found[key] = {**value, "class_path": names[value["class_path"]]}
    return found


def words_with_class_names(args: list[str]) -> list[str]:
    """Replace method names by class names in the words of a command; see :func:`with_class_names`."""
    names = method_classes()
    return _map_option(args, ("--model", "--model.class_path"), lambda name: names.get(name, name))


def _map_option(args: list[str], options: tuple[str, ...], change: Callable[[str], str]) -> list[str]:
    """Apply ``change`` to each value given to one of ``options``, in both spellings."""
    changed: list[str] = []
    for index, word in enumerate(args):
        option, equals, value = word.partition("=")
        if option in options and equals:
            changed.append(f"{option}={change(value)}")
        elif index and args[index - 1] in options:
            changed.append(change(word))
        else:
            changed.append(word)
    return changed


@lru_cache(maxsize=256)  # a command reads its configurations several times
def _parsed(text: str) -> Any:
    return load_yaml(text)


def read_yaml(path: Path, keys: str = "'model:' and 'trainer:'") -> dict[str, Any]:
    """Return the content of a YAML file.

    Args:
        path: of the file.
        keys: expected keys, for the message.

    Raises:
        UsageError: it is not valid YAML, or not a mapping; one line with the position.
    """
    try:
        content = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{place}: not valid YAML ({getattr(error, 'problem', None) or error}).") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected keys such as {keys}, found {type(content).__name__}.")
    return content
