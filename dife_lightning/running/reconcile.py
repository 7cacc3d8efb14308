"""Settings from a run or a checkpoint; settings that the user gives win.

Lightning merges a checkpoint's hyper-parameters over explicit options without a word
(https://github.com/Lightning-AI/pytorch-lightning/pull/21455). Here they become the defaults of the model's options, so
that files and options of the user replace them one by one, at every level.
"""

from __future__ import annotations

import dataclasses
import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dife_lightning.errors import CheckpointError, reason_of
from dife_lightning.registry import without_former_options
from dife_lightning.running.configs import option_value
from dife_lightning.running.folders import run_of_checkpoint
from dife_lightning.running.trust import FLAG, check_run
from dife_lightning.utils.run_folder import LAST, PREVIOUS, RESOLVED, RunFolder
from dife_lightning.weights.building import all_values, check_size
from dife_lightning.weights.checkpoints import best_checkpoint, read_checkpoint

_BOOKKEEPING = ("_class_path", "_instantiator", "method")
#: Keys that Lightning reads from a checkpoint, always and to resume a training; without one it raises a KeyError.
_READ, _RESUMED = ("state_dict", "pytorch-lightning_version"), ("global_step", "loops", "optimizer_states")


def with_config_of_run(verb: str, args: list[str], names: list[str]) -> list[str]:
    """Use the settings of the run for ``--ckpt_path runs/x`` without ``--config``, after checking that they are safe.

    Args:
        verb: of the command.
        args: the words after it.
        names: configurations that the user gave.

    Raises:
        UsageError: the settings name a class, a path or a value that is not accepted from a run.
    """
    run = run_of_checkpoint(option_value(args, "--ckpt_path"))
    if names or run is None or option_value(args, "--model") is not None:
        return args
    if FLAG not in args:
        check_run(run)
    # scores are computed in full precision, whatever the run was trained in
    precision = [] if verb == "fit" else ["--trainer.precision=auto"]
    return ["--config", str(run / RESOLVED), *precision, *args]


def checkpoint_file(verb: str, given: str | None) -> Path | None:
    """Return the checkpoint that ``--ckpt_path`` names; of a run's folder the best one, for fit the last one.

    Raises:
        CheckpointError: there is no such file.
    """
    if given is None or given == "hpc":
        return None
    folder = verb == "fit" and Path(given).is_dir()
    path = RunFolder.at(given).last_checkpoint if folder else best_checkpoint(given)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}. Check the path (runs are in runs/<run>/checkpoints/).")
    return path


def read_trainer_checkpoint(path: Path, resumes: bool) -> dict[str, Any]:
    """Read a checkpoint that a Trainer wrote.

    Args:
        path: of the file.
        resumes: whether a training resumes from it, which needs more than weights.

    Raises:
        CheckpointError: it is damaged, or lacks what Lightning reads from it. The checkpoint before a damaged
            ``last.ckpt`` is named.
    """
    try:
        content = read_checkpoint(path)
        if resumes:
            _check_sums(path)
    except CheckpointError as error:
        before = path.with_name(PREVIOUS)
        if resumes and path.name == LAST and before.is_file():
            raise CheckpointError(f"{error} Resume from the previous checkpoint: --ckpt_path {before}") from None
        raise
    for key in (*_READ, *(_RESUMED if resumes else ())):
        if key not in content:
            hint = (
                " To load only the weights, use --model.init_args.init_from."
                if resumes and "state_dict" in content
                else ""
            )
            raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: it has no '{key}'.{hint}")
    for key in ("state_dict", "hyper_parameters"):
        if not isinstance(content.get(key, {}), dict):
            found = type(content[key]).__name__
            raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: '{key}' is a {found}.")
    check_size(content.get("callbacks"), path)
    for text, _ in all_values(content.get("callbacks")):
        # Lightning deletes the checkpoints that a callback's state names, if they seem to lie in the run
        if isinstance(text, str) and ".." in Path(text).parts:
            raise CheckpointError(f"{path} names a file outside its run: {text}.")
    return content


def _check_sums(path: Path) -> None:
    """Check the checksums of a ZIP archive, which is what torch writes; torch itself does not."""
    if not zipfile.is_zipfile(path):  # torch's old format has no sums
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of '{damaged}' does not match.")


def batches_done(checkpoint: Mapping[str, Any]) -> int:
    """Return how many batches a run had trained on when it wrote ``checkpoint``.

    Raises:
        CheckpointError: it does not say.
    """
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint has no training progress ({reason_of(error)}); load only its weights with "
            "--model.init_args.init_from."
        ) from None


class SavedSettings(NamedTuple):
    """``known``: settings of a checkpoint that the model takes; ``notes``: one line for each other setting."""

    known: dict[str, Any]
    notes: list[str]


def saved_settings(saved: Mapping[str, Any], cls: type[Any]) -> SavedSettings:
    """Return the hyper-parameters of a checkpoint that can be defaults of a model.

    Args:
        saved: the checkpoint's hyper-parameters, with ``_class_path`` if the command line wrote them.
        cls: the class that the command asks for. Nothing is taken from another class.
    """
    wrote, asked = str(saved.get("_class_path", cls.__name__)), f"{cls.__module__}.{cls.__name__}"
    if wrote.rpartition(".")[2] != cls.__name__:  # compared without module: a class may have moved
        return SavedSettings({}, [f"model: the checkpoint was written by {wrote}, kept the given {asked}"])
    given = {key: value for key, value in without_former_options(saved).items() if key not in _BOOKKEEPING}
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return SavedSettings(given, [])
    return _accepted(given, {key: parameter.default for key, parameter in parameters.items()}, "model")


def _accepted(given: Mapping[str, Any], defaults: Mapping[str, Any], place: str) -> SavedSettings:
    """Drop settings that only an earlier version had, also in groups of options (dataclasses)."""
    known: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in given.items():
        group = defaults.get(key)
        if key not in defaults:
            notes.append(f"{place}.{key}: the checkpoint has {value!r}, this version has no such setting")
        elif dataclasses.is_dataclass(group) and isinstance(value, Mapping):
            fields = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
            known[key], more = _accepted(value, fields, f"{place}.{key}")
            notes += more
        else:
            known[key] = value
    return SavedSettings(known, notes)


def differences(saved: Mapping[str, Any], used: Mapping[str, Any], place: str = "model") -> list[str]:
    """Return one line for each setting of a checkpoint that the user replaced.

    Args:
        saved: the ``known`` settings of the checkpoint.
        used: the arguments of the model that are used.
        place: of the settings, for the text.
    """
    notes = []
    for key, value in saved.items():
        other = used.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping) and value.keys() <= other.keys():
            notes += differences(value, other, f"{place}.{key}")
        elif key in used and not _same(value, other):
            notes.append(f"{place}.{key}: the checkpoint has {value!r}, kept the given {other!r}")
    return notes


def _same(left: Any, right: Any) -> bool:
    """Compare values; tuples equal lists, which YAML turns them into."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)
