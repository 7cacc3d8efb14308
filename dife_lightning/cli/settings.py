"""All settings of a command, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dife_lightning.cli.verbs import start


def resolved_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return all settings of a `dife` command, defaults included, as ``--print_config`` prints them.

    Args:
        words: verb and options.

    Raises:
        UsageError: the configuration is not understood.
    """
    import yaml

    verb, *args = words
    cli = start(verb, args, run=False)
    settings: dict[str, Any] = yaml.safe_load(cli.parser.dump(cli.settings, skip_unset=False, format="yaml"))
    return settings
