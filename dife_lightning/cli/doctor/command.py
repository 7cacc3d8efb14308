"""``dife doctor CONFIG``: checks what a configuration needs before a long run.

Every finding says what to type. The exit code is 0 without errors (there may be warnings), 1 if something would stop
the run, 2 if the configuration is not valid.
"""

from __future__ import annotations

import argparse
from itertools import takewhile

from rich.console import Console

from dife_lightning.cli.doctor.checks import examine
from dife_lightning.cli.doctor.configured import Configured
from dife_lightning.cli.doctor.findings import report
from dife_lightning.cli.doctor.steps import measure
from dife_lightning.cli.options import VerbParser, skip_broken_in
from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import UsageError


def run(verb: str, args: list[str]) -> int:
    """Examine a configuration, print the findings, and return the exit code."""
    parser = _parser()
    if not args:
        parser.print_help()
        return 2
    configs = list(takewhile(lambda word: not word.startswith("-"), args))
    options, rest = parser.parse_known_args(args[len(configs) :])
    words = ["fit", *(word for name in configs for word in ("--config", name)), *rest]
    if not any(word.partition("=")[0] in ("-c", "--config") for word in words):
        raise UsageError("name a configuration, for example `dife doctor world/human_dog trainer/cpu`.")
    settings = resolved_settings(words)
    if settings.get("skip_broken"):
        skip_broken_in(settings.get("data"))
    configured, console = Configured(settings), Console()
    failed = report(examine(configured), console)
    if options.steps and not failed:
        failed = report(measure(words, configured), console)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        prog="dife doctor",
        usage="dife doctor CONFIG [CONFIG ...] [--no-steps] [--key value ...]",
        description="Check what `dife fit` with these configurations needs: generators, teacher, data, disk, device, "
        "precision, time and memory.\nEach finding says what to type; the exit code is 1 if the run would fail.",
    )
    text = "do not train the few steps from which time and memory are estimated"
    parser.add_argument("--no-steps", "--no_steps", dest="steps", action="store_false", help=text)
    return parser
