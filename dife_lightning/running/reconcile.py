"""Settings of a checkpoint against settings of the command: what the user said wins.

Lightning merges a checkpoint's hyper-parameters over explicit flags without a word
(https://github.com/Lightning-AI/pytorch-lightning/pull/21455). Here they only fill what was left at its default.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dife_lightning.errors import CheckpointError, reason_of
from dife_lightning.weights.checkpoints import read_checkpoint

_BOOKKEEPING = ("_class_path", "_instantiator", "method")
#: What Lightning reads from a checkpoint, always and to go on with a training; a missing one is a KeyError there.
_READ, _RESUMED = ("state_dict", "pytorch-lightning_version"), ("global_step", "loops", "optimizer_states")


def read_trainer_checkpoint(path: Path, resumes: bool) -> dict[str, Any]:
    """Read a checkpoint that a Trainer wrote.

    Args:
        path: of the file.
        resumes: whether a training is to go on from it, which takes more than weights.

    Raises:
        CheckpointError: it is damaged, or lacks what Lightning reads from it.
    """
    content = read_checkpoint(path)
    if resumes:
        _check_sums(path)
    for key in (*_READ, *(_RESUMED if resumes else ())):
        if key not in content:
            hint = " For weights alone use --model.init_args.init_from." if resumes and "state_dict" in content else ""
            raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: it has no '{key}'.{hint}")
    for key in ("state_dict", "hyper_parameters"):
        if not isinstance(content.get(key, {}), dict):
            found = type(content[key]).__name__
            raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: '{key}' is a {found}.")
    return content


def _check_sums(path: Path) -> None:
    """Find altered bytes, which torch reads without a word; a checkpoint of torch is a ZIP archive with check sums."""
    if not zipfile.is_zipfile(path):  # torch's old format has no sums
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the check sum of '{damaged}' does not fit.")


def batches_done(checkpoint: Mapping[str, Any]) -> int:
    """Return how many batches a run had trained on when it wrote ``checkpoint``.

    Raises:
        CheckpointError: it does not say.
    """
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint does not say how far its run was ({reason_of(error)}).") from None


class Reconciled(NamedTuple):
    """``updates``: settings to take from the checkpoint; ``notes``: one line per difference."""

    updates: dict[str, Any]
    notes: list[str]


def reconcile(
    saved: Mapping[str, Any], explicit: Mapping[str, Any], accepted: Mapping[str, Any], class_path: str
) -> Reconciled:
    """Decide which hyper-parameters of a checkpoint to use.

    Args:
        saved: the checkpoint's hyper-parameters, with ``_class_path`` if the command line wrote them.
        explicit: arguments of the model that the user gave, on the command line or in a configuration file.
        accepted: all arguments of the model with their present values, defaults included.
        class_path: of the model that the command asks for.
    """
    wrote = str(saved.get("_class_path", class_path))
    if wrote.rpartition(".")[2] != class_path.rpartition(".")[2]:  # a class may have moved to another module
        return Reconciled({}, [f"model: the checkpoint was written by {wrote}, kept the given {class_path}"])
    updates: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in saved.items():
        if key in _BOOKKEEPING or _same(accepted.get(key), value):
            continue
        if key not in accepted:
            notes.append(f"model.{key}: the checkpoint has {value!r}, this version has no such setting")
        elif key in explicit:
            notes.append(f"model.{key}: the checkpoint has {value!r}, kept the given {accepted[key]!r}")
        else:
            updates[key] = value
    return Reconciled(updates, notes)


def _same(left: Any, right: Any) -> bool:
    """Compare values that may have become lists on their way through YAML."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)
