"""``--skip-broken``: one switch for everything that a command reads, which goes on without what is broken."""

from __future__ import annotations

from typing import Any

from dife_lightning.errors import UsageError


def skip_broken_in(data: Any) -> None:
    """Set ``skip_broken`` in the settings of a data module, or of the evaluation that it carries.

    Args:
        data: the parsed ``data`` section: ``class_path`` and ``init_args``.

    Raises:
        UsageError: neither of them reads files that could be broken.
    """
    arguments = data.get("init_args") if data else None
    evaluation = arguments.get("evaluation") if arguments else None
    parts = [arguments, evaluation.get("init_args") if evaluation else None]
    readers = [part for part in parts if part and "skip_broken" in part]
    if not readers:
        name = str(data.get("class_path")).rpartition(".")[2] if data else "no data"
        raise UsageError(f"--skip-broken goes with data that are read from files, found {name}. Leave it out.")
    for part in readers:
        part["skip_broken"] = True
