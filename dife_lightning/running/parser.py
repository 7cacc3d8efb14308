"""The parser of ``dife fit`` and its like: configurations that extend others, settings that two parts share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from dife_lightning.running.configs import BASE, read_config, read_yaml


class ConfigParser(LightningArgumentParser):
    """Reads configuration files whose ``base:`` names the configurations that they extend."""

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Parse a configuration file with what it extends."""
        if BASE not in read_yaml(Path(path)):
            return super().parse_path(path, *args, **kwargs)
        content = yaml.safe_dump(read_config(Path(path)), sort_keys=False)
        return self.parse_string(content, os.path.basename(path), *args, **kwargs)


def shared_words(explicit: Mapping[str, Any]) -> list[str]:
    """Return options that give the data what only the model states, such as the tapped layer.

    The class of the data lists such settings in ``FROM_MODEL``. What is stated for the data, too, stays.

    Args:
        explicit: the settings that were given, without defaults.
    """
    model, data = ((explicit.get(part) or {}) for part in ("model", "data"))
    module, _, name = str(data.get("class_path") or "").rpartition(".")
    names = getattr(getattr(sys.modules.get(module), name, None), "FROM_MODEL", ())
    given, stated = ((part.get("init_args") or {}) for part in (model, data))
    shared = {name: given[name] for name in names if name in given and name not in stated}
    return [f"--data.init_args.{name}={json.dumps(value)}" for name, value in shared.items()]
