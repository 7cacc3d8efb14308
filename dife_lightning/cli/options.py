"""Options that ``dife fit``, ``validate``, ``test`` and ``predict`` add to Lightning's; a parser for other verbs."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple, NoReturn

from dife_lightning.errors import UsageError


class VerbParser(argparse.ArgumentParser):
    """A parser of options that keeps line breaks in its help, guesses no option, and raises errors as ``UsageError``.

    Args:
        prog: the command, such as ``dife sweep``.
        **kwargs: passed to :class:`argparse.ArgumentParser`.
    """

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog=prog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError``."""
        raise UsageError(f"{message}; `{self.prog} --help` shows the options.")


class Option(NamedTuple):
    """An option of the command line; ``kind`` None makes it a switch."""

    names: tuple[str, ...]
    kind: Any
    default: Any
    help: str


_COMMON = (
    Option(("--skip_broken", "--skip-broken"), None, False, "Skip broken images and rows, and list what was skipped."),
    Option(
        ("--trust_run",),
        None,
        False,
        "Use the settings of the run of --ckpt_path unchecked. They can run any code: only for runs of people you "
        "trust.",
    ),
    Option(("--runs_root",), str, "runs", "Folder that holds the runs."),
)
_FIT = (
    Option(("--run",), str | None, None, "Name of the run; by default that of the configuration, and the time."),
    Option(("--overwrite",), None, False, "Replace an earlier run of that name."),
)
_EVALUATION = (
    Option(("--allow_untrained",), None, False, "Go on without --ckpt_path."),
    Option(("--out",), str | None, None, "Folder of the results; <run>/eval/... by default."),
)
IMPORT = "--import"
#: Shown below the options: ``--import`` is done before the parser is built, which then knows the classes.
EPILOG = (
    "--import FILE: import a Python file (my_method.py) or an installed module first; its methods, data modules and "
    "callbacks can then be used by name. May be given several times."
)
#: Options that Lightning gives to each verb.
_LIGHTNING = {
    "fit": {"ckpt_path", "weights_only"},
    "validate": {"ckpt_path", "verbose", "weights_only"},
    "test": {"ckpt_path", "verbose", "weights_only"},
    "predict": {"ckpt_path", "return_predictions", "weights_only"},
}
_SECTIONS = {"config", "seed_everything", "trainer", "model", "data", "help", "print_config", "print_shtab"}


def own_options(verb: str) -> tuple[Option, ...]:
    """Return our options of a verb."""
    return _COMMON + (_FIT if verb == "fit" else _EVALUATION)


def add_options(parser: Any, verb: str) -> None:
    """Add our options of a verb to its parser."""
    for option in own_options(verb):
        if option.kind is None:
            parser.add_argument(*option.names, action="store_true", help=option.help)
        else:
            parser.add_argument(*option.names, type=option.kind, default=option.default, help=option.help)


def option_names(verb: str) -> set[str]:
    """Return the names of all options of a verb, without dashes and what follows the first dot."""
    own = {name.lstrip("-") for option in own_options(verb) for name in option.names}
    return own | _LIGHTNING[verb] | _SECTIONS | {IMPORT.lstrip("-")}
