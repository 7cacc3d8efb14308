"""Finding configuration files: by path, or by the name of one that comes with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.errors import UsageError, did_you_mean

_SUFFIXES = (".yaml", ".yml", ".json")
#: Shipped files that are for `dife sweep`, not for --config.
_NO_CONFIGS = "sweeps/"


def packaged_configs() -> Path:
    """Return the folder of shipped configurations: inside the installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def list_configs() -> list[str]:
    """Return the names of the shipped configurations, such as ``world/human_dog``."""
    root = packaged_configs()
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(_NO_CONFIGS))


def find_config(name: str) -> Path:
    """Return the file of a path (relative to the working folder) or of a shipped configuration's name.

    Raises:
        UsageError: there is neither, or the file is not valid YAML.
    """
    candidates = [Path(name).expanduser(), packaged_configs() / name]
    candidates += [packaged_configs() / f"{name}{suffix}" for suffix in _SUFFIXES]
    for path in candidates:
        if path.is_file():
            read_yaml(path)
            return path
    raise UsageError(
        f"no configuration '{name}', neither a file nor a shipped name. {did_you_mean(name, list_configs())}"
    )


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
