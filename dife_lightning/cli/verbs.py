"""``dife fit | validate | test | predict``: what is wrong with a command is said before Lightning is imported."""

from __future__ import annotations

from dife_lightning.cli.early import check_early
from dife_lightning.cli.options import IMPORT
from dife_lightning.registry import import_all, import_own
from dife_lightning.running.configs import resolve_configs, take_option, words_with_class_names


def run_verb(verb: str, args: list[str]) -> int:
    """Run one of Lightning's verbs and return the exit code."""
    words, names = resolve_configs(args)
    check_early(verb, words, names)
    words, files = take_option(words, IMPORT)
    for file in files:
        import_own(file)
    import_all("methods", "datasets", "data", "callbacks")
    from dife_lightning.cli.lightning_cli import DifeCLI
    from dife_lightning.running.quiet import clear_weights_error, quiet
    from dife_lightning.running.reconcile import with_config_of_run, with_last

    words = words_with_class_names(words)
    words = with_config_of_run(verb, with_last(words) if verb == "fit" else words, names)
    with quiet(), clear_weights_error():
        DifeCLI(verb, words, names, command=args)
    return 0
