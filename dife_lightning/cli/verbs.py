"""``dife fit | validate | test | predict``: most errors in a command are reported before Lightning is imported."""

from __future__ import annotations

import gc

from dife_lightning.cli.early import check_early, with_last, with_shipped
from dife_lightning.cli.main import USUAL_COLLECTION
from dife_lightning.cli.options import IMPORT, VerbParser
from dife_lightning.cli.photos import with_images, with_model
from dife_lightning.registry import import_all, import_own
from dife_lightning.running.configs import resolve_configs, words_with_class_names


def run_verb(verb: str, args: list[str]) -> int:
    """Run one of Lightning's verbs and return the exit code."""
    words, names = resolve_configs(args)
    words = with_images(verb, with_last(words) if verb == "fit" else with_shipped(words))
    check_early(verb, words, names)
    parser = VerbParser(f"dife {verb}", add_help=False)
    parser.add_argument(IMPORT, action="append", default=[], dest="files")
    options, words = parser.parse_known_args(words)
    for file in options.files:
        import_own(file)
    import_all("methods", "datasets", "data", "callbacks")
    from dife_lightning.cli.lightning_cli import DifeCLI
    from dife_lightning.running.quiet import clear_weights_error, quiet
    from dife_lightning.running.reconcile import with_config_of_run

    words = with_config_of_run(verb, with_model(verb, words_with_class_names(words)), names)
    gc.set_threshold(*USUAL_COLLECTION)
    with quiet(), clear_weights_error():
        DifeCLI(verb, words, names, command=args)
    return 0
