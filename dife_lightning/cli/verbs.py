"""``dife fit | validate | test | predict``: what is wrong with a command is said before Lightning is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dife_lightning.cli.early import check_early
from dife_lightning.registry import import_all, import_own
from dife_lightning.running.configs import options_of, resolve_configs, words_with_class_names

if TYPE_CHECKING:
    from dife_lightning.cli.lightning_cli import DifeCLI


def run_verb(verb: str, args: list[str]) -> int:
    """Run one of Lightning's verbs and return the exit code."""
    start(verb, args, run=True)
    return 0


def start(verb: str, args: list[str], run: bool) -> DifeCLI:
    """Check and parse a command.

    Args:
        verb: fit, validate, test or predict.
        args: the words after the verb.
        run: run it; otherwise only its settings are of interest.
    """
    words, names = resolve_configs(args)
    check_early(verb, words, names, run)
    for option, value in options_of(words):
        if option == "--import":
            import_own(str(value))
    import_all("methods", "datasets", "data", "callbacks")
    from dife_lightning.cli.lightning_cli import DifeCLI
    from dife_lightning.running.quiet import clear_weights_error, quiet
    from dife_lightning.running.reconcile import with_config_of_run, with_last

    words = words_with_class_names(words)
    words = with_config_of_run(verb, with_last(words) if verb == "fit" else words, names)
    with quiet(), clear_weights_error():
        return DifeCLI(verb, words, names, command=args, execute=run)
