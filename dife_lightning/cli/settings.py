"""All settings of a command, without running it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from dife_lightning.cli.verbs import run_verb
from dife_lightning.utils.yaml_text import load_printed


def resolved_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return all settings of a `dife` command, defaults included, as ``--print_config`` resolves them.

    Args:
        words: verb and options.

    Raises:
        UsageError: the configuration is not understood.
    """
    verb, *args = words
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(SystemExit),  # the parser leaves when it has printed
    ):
        run_verb(verb, [*args, "--print_config"])
    return dict(load_printed(printed.getvalue()))
