"""Configuration files: found by path or shipped name, and completed by what they extend.

A file that starts with ``base: NAME`` (or a list of names) extends other configurations: it states only what differs.
``NAME`` is a shipped configuration, or a file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.errors import UsageError, did_you_mean

_SUFFIXES = (".yaml", ".yml", ".json")
#: Shipped files that are for `dife sweep`, not for --config.
_NO_CONFIGS = "sweeps/"
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


def find_config(name: str, folder: Path | None = None) -> Path:
    """Return the file of a path or of a shipped configuration's name.

    Args:
        name: what to find.
        folder: where a relative path starts; the working folder by default.

    Raises:
        UsageError: there is neither, or the file or one that it extends is not valid.
    """
    path = _find(name, folder)
    read_config(path)
    return path


def _find(name: str, folder: Path | None) -> Path:
    candidates = [(folder or Path()) / Path(name).expanduser(), packaged_configs() / name]
    candidates += [packaged_configs() / f"{name}{suffix}" for suffix in _SUFFIXES]
    for path in candidates:
        if path.is_file():
            return path
    raise UsageError(
        f"no configuration '{name}', neither a file nor a shipped name. {did_you_mean(name, list_configs())}"
    )


def read_config(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the content of a configuration file, with what it extends.

    Args:
        path: of the file.
        extended_by: the files that led here.

    Raises:
        UsageError: it is not valid YAML, extends what is not there, or extends itself.
    """
    content = read_yaml(path)
    bases = content.pop(BASE, [])
    if path.resolve() in extended_by:
        raise UsageError(f"{path} extends itself; remove its '{BASE}:' or that of {extended_by[-1]}.")
    found: dict[str, Any] = {}
    for name in bases if isinstance(bases, list) else [bases]:
        try:
            base = _find(str(name), path.parent)
        except UsageError as error:
            raise UsageError(f"{path}: '{BASE}: {name}': {error}") from None
        found = merged(found, read_config(base, (*extended_by, path.resolve())))
    return merged(found, content)


def load_config(name: str) -> dict[str, Any]:
    """Return the content of a configuration, given by path or shipped name, with what it extends."""
    return read_config(find_config(name))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``below``, with those of ``above`` in their place; arguments of another class go."""
    if above.get("class_path", below.get("class_path")) != below.get("class_path"):
        return dict(above)
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
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

    return _map_option(args, ("-c", "--config"), path_of), names


def option_value(args: list[str], *options: str) -> str | None:
    """Return the last value given to an option (``--name value`` or ``--name=value``), or None."""
    found: list[str] = []

    def note(value: str) -> str:
        found.append(value)
        return value

    _map_option(args, options, note)
    return found[-1] if found else None


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


def read_yaml(path: Path, keys: str = "'model:' and 'trainer:'") -> dict[str, Any]:
    """Return the content of a YAML file.

    Args:
        path: of the file.
        keys: what is expected in it, for the message.

    Raises:
        UsageError: it is no mapping, or no YAML; one line with the place.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{place}: not valid YAML ({getattr(error, 'problem', None) or error}).") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected keys such as {keys}, found {type(content).__name__}.")
    return content
