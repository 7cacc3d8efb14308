"""Options that ``dife fit``, ``validate``, ``test`` and ``predict`` add to Lightning's; a parser for other verbs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dife_lightning.errors import UsageError
from dife_lightning.utils.yaml_text import is_text, load_yaml


class VerbParser(argparse.ArgumentParser):
    """A parser of options that keeps line breaks in its help, guesses no option, and raises errors as ``UsageError``.

    Args:
        prog: the command, such as ``dife sweep``.
        **kwargs: passed to :class:`argparse.ArgumentParser`.
    """

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog=prog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs)

    def help_code(self, args: list[str]) -> int | None:
        """Print the help if it is asked for (exit code 0) or nothing is given (2); None if neither."""
        if args and not set(args) & {"-h", "--help"}:
            return None
        self.print_help()
        return 0 if args else 2

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError``."""
        if message.endswith("expected one argument"):
            message += " (a value that begins with - is written as --name=-1,2)"
        raise UsageError(f"{message}; `{self.prog} --help` shows the options.")


def results_folder(text: str) -> str:
    """Return the folder of an option ``--out``; argparse.ArgumentTypeError if a file is in its place."""
    path = Path(text).expanduser()
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file; expected a folder for the results")
    return str(path)


def parse_value(text: str) -> Any:
    """Return the value of an option: a number, true, false, a list ``[a, b]``, or else text.

    Words and forms that YAML takes for something else are text: ``no``, ``on``, ``007``, ``12:30``, ``2024-05-01``.
    yaml.YAMLError for a list or mapping that does not end.
    """
    return text if is_text(text) and text[:1] not in ("[", "{", '"', "'") else load_yaml(text)


#: Names of an option -> arguments of ``add_argument``.
Options = dict[tuple[str, ...], dict[str, Any]]
_COMMON: Options = {
    ("--skip_broken", "--skip-broken"): {
        "action": "store_true",
        "help": "Skip broken images and rows, and list what was skipped.",
    },
    ("--trust_run",): {
        "action": "store_true",
        "help": "Use the settings of the run of --ckpt_path unchecked. They can run any code: only for runs of people "
        "you trust.",
    },
    ("--runs_root",): {"type": str, "default": "runs", "help": "Folder that holds the runs."},
}
_FIT: Options = {
    ("--run",): {"type": str | None, "help": "Name of the run; by default that of the configuration, and the time."},
    ("--overwrite",): {"action": "store_true", "help": "Replace an earlier run of that name."},
}
_EVALUATION: Options = {
    ("--allow_untrained",): {"action": "store_true", "help": "Score a method without --ckpt_path."},
    ("--out",): {"type": str | None, "help": "Folder of the results; <run>/eval/... by default."},
}
_PREDICT: Options = {
    ("--images",): {
        "type": str | None,
        "help": "Folder of photos without labels, for a landmark model: it finds its points on each of them.",
    },
    ("--boxes",): {
        "type": str | None,
        "help": "With --images: file of the boxes of the faces, COCO or CSV; without it, each photo is one face.",
    },
    ("--pictures",): {"type": int, "default": 20, "help": "With --images: photos to draw the points on; 0 for none."},
    ("--label_next", "--label-next"): {
        "type": int,
        "default": 0,
        "help": "With --images: how many photos to choose for labelling next; 0 for none.",
    },
    ("--labelled",): {
        "type": str | None,
        "help": "With --label_next: text file with the paths of labelled photos, which are not chosen.",
    },
}
IMPORT = "--import"
#: Shown below the options; ``--import`` is handled before the parser is built, which then knows the classes.
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


def own_options(verb: str) -> Options:
    """Return our options of a verb."""
    return _COMMON | (_FIT if verb == "fit" else _EVALUATION) | (_PREDICT if verb == "predict" else {})


def add_options(parser: Any, verb: str) -> None:
    """Add our options of a verb to its parser."""
    for names, arguments in own_options(verb).items():
        parser.add_argument(*names, **arguments)


def option_names(verb: str) -> set[str]:
    """Return the names of all options of a verb, without dashes and what follows the first dot."""
    own = {name.lstrip("-") for names in own_options(verb) for name in names}
    return own | _LIGHTNING[verb] | _SECTIONS | {IMPORT.lstrip("-")}


def skip_broken_in(data: Any) -> None:
    """Set ``skip_broken`` in the settings of a data module, or of the photos or the evaluation that it carries.

    Args:
        data: the parsed ``data`` section: ``class_path`` and ``init_args``.

    Raises:
        UsageError: none of them reads files that could be broken.
    """
    arguments = data.get("init_args") if data else None
    evaluation = arguments.get("evaluation") if arguments else None
    photos = arguments.get("photos") if arguments else None
    parts = [arguments, photos, evaluation.get("init_args") if evaluation else None]
    readers = [part for part in parts if part and "skip_broken" in part]
    if not readers:
        name = str(data.get("class_path")).rpartition(".")[2] if data else "no data"
        raise UsageError(f"--skip-broken works only with data that are read from files, not with {name}; remove it.")
    for part in readers:
        part["skip_broken"] = True


def reader_options(words: list[str]) -> dict[str, Any]:
    """Return the options of a reader, from ``--key value`` and ``--key=value``; UsageError for another form."""
    rest, others = list(words), {}
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise UsageError(f"expected --key value, found '{word}'; write lists as [a, b].")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{key} needs a value.")
            text = rest.pop(0)
        try:
            others[key.replace("-", "_")] = parse_value(text)
        except yaml.YAMLError:
            raise UsageError(f"--{key} {text}: expected a value, or a list [a, b].") from None
    return others
