"""Finds errors in a command before torch and Lightning are imported, which takes seconds.

Only certain errors are reported here. The parser, which knows all types, checks everything again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dife_lightning.cli.options import option_names
from dife_lightning.cli.photos import takes_model
from dife_lightning.cli.signatures import attribute_of, class_names, parameters_of, trainer_parameters
from dife_lightning.errors import CheckpointError, UsageError
from dife_lightning.registry import method_classes
from dife_lightning.running.configs import given_settings, option_value, options_of
from dife_lightning.running.folders import check_name, last_checkpoint, refuse_existing, run_of_checkpoint
from dife_lightning.running.locks import process_rank
from dife_lightning.running.parser_errors import (
    missing_sections,
    unknown_class,
    unknown_key,
    unknown_option,
    untrained,
)
from dife_lightning.weights.assets import list_assets
from dife_lightning.weights.user_paths import PREFIX


def check_early(verb: str, words: list[str], config_names: list[str]) -> None:
    """Check the words of a command.

    Args:
        verb: fit, validate, test or predict.
        words: the words after the verb, configurations as paths.
        config_names: the names of the configurations.

    Raises:
        UsageError: an unknown option, key or class, a run that exists, or a section that is missing.
        CheckpointError: there is no file or folder at ``--ckpt_path``.
    """
    options = options_of(words)
    if any(name == "-h" or name.endswith("help") for name, _ in options):
        return
    known = option_names(verb)
    for name, _ in options:
        if name.startswith("--"):
            _check_option(name, known, verb)
    given = given_settings(words, of_last_class=True)
    for key in given.keys() - known:
        raise unknown_key(key, known, verb)
    run = not any(name.startswith("--print_config") for name, _ in options)  # else only the settings are printed
    from_run = not config_names and not any(name == "--model" for name, _ in options)
    whole = _check_checkpoint(verb, given) and from_run
    _check_keys(verb, given)
    if run and not whole and not takes_model(given):
        _check_model(verb, given)
    if run and verb == "fit" and process_rank() == 0:
        _check_run(given)


def with_last(words: list[str]) -> list[str]:
    """Replace ``--ckpt_path last`` by the file of the run that ``--run`` names.

    Raises:
        UsageError: there is no name, no such run, or no checkpoint in it.
    """
    if option_value(words, "--ckpt_path") != "last":
        return words
    path = last_checkpoint(option_value(words, "--runs_root") or "runs", option_value(words, "--run"))
    return [*words, "--ckpt_path", str(path)]  # the later one counts


def with_shipped(words: list[str]) -> list[str]:
    """Replace ``--ckpt_path photos/dife`` by the file of that shipped method, and ``own/...`` by the user's file."""
    name = option_value(words, "--ckpt_path")
    if name is None or not (name in list_assets() or name.startswith(PREFIX)):
        return words
    from dife_lightning.loading import method_file

    return [*words, "--ckpt_path", str(method_file(name))]  # the later one counts


def _check_option(option: str, known: set[str], verb: str) -> None:
    name = option.removeprefix("--").removesuffix("+")
    first, _, rest = name.partition(".")
    trainer = trainer_parameters()
    if first not in known:
        raise unknown_option(name, known | {f"trainer.{key}" for key in trainer}, verb)
    if first == "trainer" and rest and rest.partition(".")[0] not in trainer:
        raise unknown_option(name, {f"trainer.{key}" for key in trainer}, verb)


def _check_checkpoint(verb: str, given: Mapping[str, Any]) -> bool:
    """Return whether the checkpoint has a run whose settings can be used."""
    path = given.get("ckpt_path")
    if path is None or (verb == "fit" and path == "hpc"):
        return False
    if path in ("best", "last", "hpc"):
        raise UsageError(f"--ckpt_path {path}: say of which run, for example --ckpt_path runs/first.")
    if not Path(os.path.expanduser(str(path))).exists():
        raise CheckpointError(f"no checkpoint {path}. Check the path (runs are in runs/<run>/checkpoints/).")
    return run_of_checkpoint(str(path)) is not None


def _check_keys(verb: str, given: Mapping[str, Any]) -> None:
    """Check the keys of the trainer, and of classes of this package whose source names all arguments."""
    trainer = given.get("trainer")
    for key in (trainer.keys() if isinstance(trainer, Mapping) else set()) - trainer_parameters():
        raise unknown_key(f"trainer.{key}", {f"trainer.{known}" for known in trainer_parameters()}, verb)
    own = "import" in given or "lightning" in sys.modules  # then classes of the user's own can be known
    for section in ("model", "data"):
        entry: Any = given.get(section)
        name = _class_name(entry)
        if name is None:
            continue
        if "." not in name and name not in class_names() and not own:
            raise unknown_class(name, section, class_names(), verb)
        arguments, known = entry.get("init_args"), parameters_of(name)
        if known is not None and isinstance(arguments, Mapping):
            for key in arguments.keys() - known:
                raise unknown_key(str(key), known, verb, name)


def _class_name(entry: Any) -> str | None:
    """Return the class of a section; classes of this package without their module."""
    found = entry.get("class_path") if isinstance(entry, Mapping) else None
    if not isinstance(found, str):
        return None
    found = method_classes().get(found, found)
    return found.rpartition(".")[2] if found.startswith("dife_lightning.") else found


def _check_model(verb: str, given: Mapping[str, Any]) -> None:
    missing = [section for section in ("data", "model") if _class_name(given.get(section)) is None]
    if missing:
        raise missing_sections(missing, verb)
    name = str(_class_name(given["model"]))
    if verb == "fit" or given.get("ckpt_path") or given.get("allow_untrained") or name not in class_names():
        return
    if attribute_of(name, "needs_checkpoint") is not False:
        raise untrained(verb, name)


def _check_run(given: Mapping[str, Any]) -> None:
    name = given.get("run")
    if name is None:
        return
    check_name(str(name))
    if not given.get("ckpt_path") and not given.get("overwrite"):
        refuse_existing(Path(str(given.get("runs_root", "runs"))) / str(name))
