"""``dife_lightning.load``: rebuild a trained method from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dife_lightning.errors import CheckpointError, did_you_mean
from dife_lightning.method import Method
from dife_lightning.method import stamp as stamp
from dife_lightning.registry import get_method, list_methods, method_name, methods_by_class
from dife_lightning.weights.checkpoints import best_checkpoint as best_checkpoint
from dife_lightning.weights.checkpoints import load_state, read_checkpoint

#: Keys that the command line and Lightning put among the hyper-parameters.
_BOOKKEEPING = {"_class_path", "_instantiator", "method"}


def load(path: str | Path) -> Method:
    """Rebuild a trained method from a checkpoint, on the CPU and in eval mode.

    The class comes from the registry of methods: nothing else that the file names is imported, and only tensors and
    plain values are read from it. No generator or teacher is needed.

    Args:
        path: a ``.ckpt`` that ``dife fit`` or a Trainer wrote, or a run's folder (its best checkpoint is taken).

    Returns:
        The LightningModule: ``transfer(images, points)`` and, if the method has an embedding, ``embed(images)``.

    Raises:
        CheckpointError: missing, truncated, not of this project, or of a method that is not registered.
    """
    path = best_checkpoint(path)
    checkpoint = read_checkpoint(path)
    missing = [key for key in ("state_dict", "hyper_parameters") if not isinstance(checkpoint.get(key), dict)]
    if missing:
        raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: it has no '{missing[0]}'.")
    module = _build(path, checkpoint)
    module.on_load_checkpoint(checkpoint)
    load_state(module, checkpoint["state_dict"], source=path)
    return module.eval()


def _build(path: Path, checkpoint: dict[str, Any]) -> Method:
    """Construct the untrained module with the hyper-parameters of the checkpoint."""
    given = checkpoint["hyper_parameters"]
    cls = get_method(_method_of(path, checkpoint))
    try:
        return cls(**{key: value for key, value in given.items() if key not in _BOOKKEEPING})
    except TypeError as error:
        raise CheckpointError(f"{path}: its settings do not fit {cls.__name__} of this version ({error}).") from None


def _method_of(path: Path, checkpoint: dict[str, Any]) -> str:
    """Find the registered name of the method that wrote the checkpoint."""
    hyper_parameters = checkpoint["hyper_parameters"]
    class_path = hyper_parameters.get("_class_path", "")
    name = checkpoint.get("method") or hyper_parameters.get("method")
    if not isinstance(class_path, str) or not isinstance(name, str | None):
        raise CheckpointError(
            f"{path} does not say which method wrote it, so it is not a checkpoint of dife-lightning."
        )
    if name is None and class_path.startswith("dife_lightning."):
        cls = methods_by_class().get(class_path.rpartition(".")[2])  # by name: a class may have moved
        name = None if cls is None else method_name(cls)
    known = list_methods()
    if name in known:
        return str(name)
    if not name and not class_path:
        raise CheckpointError(
            f"{path} does not say which method wrote it, so it is not a checkpoint of dife-lightning."
        )
    found = name or class_path
    raise CheckpointError(f"{path} was written by '{found}', which is no method here. {did_you_mean(found, known)}")
