"""The parser of ``dife fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import set_loader
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser

from dife_lightning.registry import find_class
from dife_lightning.running.configs import read_config, with_class_names
from dife_lightning.utils.yaml_text import OptionValue, dump_yaml, load_yaml


def load_option(text: str) -> Any:
    """Return the value of an option, or the content of a configuration; names in braces, ``{a, b}``, are text."""
    value = load_yaml(text)
    names = isinstance(value, dict) and value and all(item is None for item in value.values()) and ":" not in text
    return text if names else value


def _same(value: Any) -> Any:
    return value


# jsonargparse parses every value with this loader, also those of dictionaries, whose types it does not know.
set_loader("yaml", load_option, (yaml.YAMLError,))
# Otherwise it would make a number of text, even of quoted text, that is made of digits.
register_type(OptionValue, serializer=_same, deserializer=_same, type_check=lambda value, kind: True)


class ConfigParser(LightningArgumentParser):
    """Reads configuration files that extend others with ``base:``."""

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Parse a configuration file, merged with those it extends; methods may have the names of ``dife methods``."""
        content = dump_yaml(with_class_names(read_config(Path(path))))
        return self.parse_string(content, os.path.basename(path), *args, **kwargs)


def shared_words(given: Mapping[str, Any]) -> list[str]:
    """Return options that copy settings of the model to the data, such as the tapped layer.

    The class of the data lists such settings in ``FROM_MODEL``. Settings that are also given for the data are kept.

    Args:
        given: the settings that a command gives, without defaults (see ``given_settings``).
    """
    model, data = ((given.get(part) or {}) for part in ("model", "data"))
    names = getattr(find_class(str(data.get("class_path"))), "FROM_MODEL", ())
    found, stated = ((part.get("init_args") or {}) for part in (model, data))
    shared = {name: found[name] for name in names if name in found and name not in stated}
    return [f"--data.init_args.{name}={json.dumps(value)}" for name, value in shared.items()]
