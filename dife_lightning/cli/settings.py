"""All settings of a command, without running it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import yaml

from dife_lightning.errors import UsageError


def resolved_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return all settings of a `dife` command, defaults included, as ``--print_config`` resolves them.

    Args:
        words: verb and options.

    Raises:
        UsageError: the configuration is not understood.
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    from dife_lightning.cli.main import main

    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        code = main([*words, "--print_config"])
    if code == 130:  # which the command itself has turned into an exit code
        raise KeyboardInterrupt
    if code:
        reason = said.getvalue().strip().splitlines()[-1:] or ["unknown reason"]
        raise UsageError(reason[0].removeprefix("error: "))
    return dict(yaml.safe_load(printed.getvalue()))
