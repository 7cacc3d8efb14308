"""``dife_lightning.load``: rebuild a trained method from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dife_lightning.errors import CheckpointError, did_you_mean
from dife_lightning.method import Method
from dife_lightning.method import stamp as stamp
from dife_lightning.registry import (
    find_class,
    get_method,
    list_methods,
    method_name,
    methods_by_class,
    without_former_options,
)
from dife_lightning.weights.assets import find_asset, list_assets
from dife_lightning.weights.building import check_settings
from dife_lightning.weights.checkpoints import best_checkpoint as best_checkpoint
from dife_lightning.weights.checkpoints import find_weights, load_state, read_checkpoint
from dife_lightning.weights.user_paths import PREFIX

CHECKPOINT_SUFFIX = ".ckpt"

#: Keys that the command line and Lightning add to the hyper-parameters.
_BOOKKEEPING = {"_class_path", "_instantiator", "method"}


def load(path: str | Path) -> Method:
    """Load a trained method from a checkpoint, on the CPU and in eval mode.

    No generator or teacher is needed. No code is executed: only registered methods and classes that you have imported
    are built, and only tensors and plain values are read from the file.

    Args:
        path: a ``.ckpt`` of ``dife fit`` or a Trainer, a run folder (its best checkpoint is loaded), the name of a
            shipped method such as ``photos/dife``, or a name of your ``paths.yaml`` (``own/...``).

    Returns:
        The LightningModule, with ``transfer(images, points)`` and, if it has an embedding, ``embed(images)``.

    Raises:
        CheckpointError: the file is missing, truncated or not of this project, its method is not registered, or its
            settings do not fit its weights.
        AssetError: a shipped file has been altered, or there is no such ``own/...`` name.
    """
    path = method_file(path)
    checkpoint = read_checkpoint(path)
    missing = [key for key in ("state_dict", "hyper_parameters") if not isinstance(checkpoint.get(key), dict)]
    if missing:
        raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: it has no '{missing[0]}'.")
    cls = method_class(path, checkpoint)
    written = without_former_options(checkpoint["hyper_parameters"])
    settings = {key: value for key, value in written.items() if key not in _BOOKKEEPING}
    check_settings(cls, settings, checkpoint, path)
    module: Method = cls(**settings)
    module.on_load_checkpoint(checkpoint)
    load_state(module, checkpoint["state_dict"], source=path)
    return module.eval()


def method_file(path: str | Path) -> Path:
    """Return the file of a trained method: a shipped one, that of an ``own/...`` name, a path, or a run's best.

    Raises:
        CheckpointError: a run without a checkpoint, or a shipped file that is no trained method.
        AssetError: a shipped file has been altered, or there is no such ``own/...`` name.
    """
    name = str(path)
    shipped = list_assets().get(name)
    if shipped is None:
        return find_weights(name) if name.startswith(PREFIX) else best_checkpoint(path)
    if not shipped["file"].endswith(CHECKPOINT_SUFFIX):
        raise CheckpointError(f"{name} is a {shipped['kind']}, no trained method; `dife assets` lists what is shipped.")
    return find_asset(name)


def method_class(path: Path, checkpoint: dict[str, Any]) -> type[Any]:
    """Return the class of the method that wrote a checkpoint, which has ``hyper_parameters``.

    CheckpointError if the checkpoint does not say, or names no method that is registered or imported.
    """
    return _own_method(checkpoint) or get_method(_method_of(path, checkpoint))


def _own_method(checkpoint: dict[str, Any]) -> type[Any] | None:
    """Return the class that wrote the checkpoint if it is an imported class from outside this package."""
    written = (checkpoint["hyper_parameters"].get("_class_path"), checkpoint.get("method"))
    paths = [path for path in written if isinstance(path, str) and "." in path]
    own = [find_class(path) for path in paths if not path.startswith("dife_lightning.")]
    return next((cls for cls in own if cls is not None and hasattr(cls, "training_step")), None)


def _method_of(path: Path, checkpoint: dict[str, Any]) -> str:
    """Return the registered name of the method that wrote the checkpoint."""
    hyper_parameters = checkpoint["hyper_parameters"]
    class_path = hyper_parameters.get("_class_path", "")
    name = checkpoint.get("method") or hyper_parameters.get("method")
    if not isinstance(class_path, str) or not isinstance(name, str | None):
        raise CheckpointError(
            f"{path} does not say which method wrote it, so it is not a checkpoint of dife-lightning."
        )
    if name is None and class_path.startswith("dife_lightning."):
        cls = methods_by_class().get(class_path.rpartition(".")[2])  # by name, because modules may have moved
        name = None if cls is None else method_name(cls)
    known = list_methods()
    if name in known:
        wrote = class_path.rpartition(".")[2]
        if class_path.startswith("dife_lightning.methods.") and wrote != get_method(str(name)).__name__:
            raise CheckpointError(f"{path} names two methods that wrote it, '{name}' and {wrote}; it was changed.")
        return str(name)
    if not name and not class_path:
        raise CheckpointError(
            f"{path} does not say which method wrote it, so it is not a checkpoint of dife-lightning."
        )
    found = name or class_path
    own = "" if found.startswith("dife_lightning.") else " If it is a method of your own, import its file first."
    raise CheckpointError(
        f"{path} was written by '{found}', which is no method here. {did_you_mean(found, known)}{own}"
    )
