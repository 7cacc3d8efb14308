"""The ``dife`` command: looks its verb up in a table and imports only what that verb needs."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from dife_lightning._version import __version__
from dife_lightning.cli.errors import debugging, exit_code, one_line, user_error
from dife_lightning.errors import UsageError, did_you_mean, printable
from dife_lightning.utils.notes import each_once

#: How often Python looks for garbage. A training returns to it, because garbage of tensors fills a GPU's memory.
USUAL_COLLECTION = gc.get_threshold()
#: Verb -> (module:function taking the verb and its arguments, one line of help).
VERBS = {
    "fit": ("dife_lightning.cli.verbs:run_verb", "train a method"),
    "validate": ("dife_lightning.cli.verbs:run_verb", "score a checkpoint on the validation pairs"),
    "test": ("dife_lightning.cli.verbs:run_verb", "score a checkpoint on the test pairs"),
    "predict": ("dife_lightning.cli.verbs:run_verb", "transfer landmarks and write them as COCO JSON and CSV"),
    "landmarks": (
        "dife_lightning.cli.landmarks:run",
        "find the landmarks of your own species on a folder of photos, from a few labelled ones",
    ),
    "match": ("dife_lightning.cli.match:run", "find for each place of a face where it is in the face of another photo"),
    "transfer": ("dife_lightning.cli.transfer:run", "carry the landmarks of annotated faces to the photos of a folder"),
    "dense": ("dife_lightning.cli.dense:run", "carry a grid of points inside a face to the faces of photos"),
    "embed": ("dife_lightning.cli.embed:run", "embed the faces of photos, as colours and as arrays"),
    "parse": ("dife_lightning.cli.parse:run", "find parts of faces that all species share"),
    "overlay": ("dife_lightning.cli.overlay:run", "put glasses, a mask, a hat or an object of yours on faces"),
    "pairs": ("dife_lightning.cli.pairs:run", "draw pseudo-pairs of a trained DIFE"),
    "generate": ("dife_lightning.cli.generate:run", "write samples of generators"),
    "serve": ("dife_lightning.cli.serve:run", "open a page: a point of one photo is found on all photos of a folder"),
    "export": ("dife_lightning.cli.export:run", "write a trained network as ONNX or as an exported program of torch"),
    "sweep": ("dife_lightning.cli.sweep:run", "train with many settings and report the best"),
    "doctor": ("dife_lightning.cli.doctor.command:run", "check what a configuration needs before a long run"),
    "convert": (
        "dife_lightning.cli.convert:run",
        "convert checkpoints to safetensors, or a DIFE to its authors' layout",
    ),
    "data": (
        "dife_lightning.cli.data:run",
        "draw the cropped faces of a data set (dife data preview), or convert its annotations (dife data convert)",
    ),
    "card": ("dife_lightning.cli.card:run", "write the model card of a run from its record"),
    "methods": ("dife_lightning.cli.listings:show", "list the methods"),
    "datasets": ("dife_lightning.cli.listings:show", "list the datasets"),
    "assets": (
        "dife_lightning.cli.listings:show",
        "list the models that come with the package and their terms; or show one in full",
    ),
    "configs": ("dife_lightning.cli.listings:show", "list the configurations that --config takes by name"),
}

_USAGE = """usage: dife VERB [options]

Dense Interspecies Face Embedding: dense correspondence between faces of different species.

verbs:
{verbs}

options:
  -h, --help       show this text; `dife VERB --help` shows the options of a verb
  --version        show the version

examples:
  dife fit --config world/human_dog --config trainer/cpu --run first
  dife test --ckpt_path runs/first
  DIFE_DEBUG=1 dife fit ...   shows the traceback of an error
"""


def usage() -> str:
    """Return the text of ``dife --help``."""
    return _USAGE.format(verbs="\n".join(f"  {verb:<16} {text}" for verb, (_, text) in VERBS.items()))


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors that a user can fix become one line on stderr.

    Args:
        args: the words after ``dife``; those of the process by default.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version otherwise
    args = list(sys.argv[1:] if args is None else args)
    try:
        with each_once():
            return _dispatch(args)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except SystemExit as stop:
        return _after_exit(stop)
    except Exception as error:
        cause = user_error(error)
        if debugging() or cause is None:
            raise
        return _say(f"error: {one_line(cause)}", exit_code(cause))


def run() -> None:
    """Entry point of the ``dife`` script; it ends quietly when nobody reads on (``dife methods | head``)."""
    gc.set_threshold(50_000, *USUAL_COLLECTION[1:])  # imports make no garbage; looking for it is a tenth of the start
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        code = 141  # 128 + SIGPIPE, as shells have it
    gc.freeze()  # otherwise the interpreter looks for garbage in all that was imported before it ends
    sys.exit(code)


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    verb, *rest = args
    if verb in ("--version", "version"):
        print(f"dife-lightning {__version__}")
        return 0
    if verb not in VERBS:
        raise UsageError(f"unknown verb '{verb}'. {did_you_mean(verb, VERBS)}")
    module, _, name = VERBS[verb][0].partition(":")
    function: Callable[[str, list[str]], int] = getattr(importlib.import_module(module), name)
    return function(verb, rest)


def _after_exit(stop: SystemExit) -> int:
    """Give the exit code of a SystemExit; Lightning turns Ctrl-C into one, which is 130 by convention."""
    if isinstance(stop.__context__, KeyboardInterrupt):
        return _say("interrupted; resume with `dife fit --ckpt_path runs/<run>/checkpoints/last.ckpt`", 130)
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    return _say(f"error: {stop.code}", 1)


def _say(text: str, code: int) -> int:
    print(printable(text), file=sys.stderr)
    return code
