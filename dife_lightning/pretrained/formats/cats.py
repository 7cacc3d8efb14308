"""Checkpoints of the authors of CATs: a folder with the weights and settings of a training, or the weights alone.

``model_best.pth`` has ``state_dict`` and the state of the training; ``args.pkl`` is the pickled namespace of the
command line. No code of either is executed (see ``weights.pickles``). Sizes are inferred from the tensors. Hyperpixels
and the number of heads cannot be inferred: they come from the settings, otherwise those of the paper are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dife_lightning.errors import CheckpointError
from dife_lightning.nn.cats import CATsNetwork, is_cats, read_architecture
from dife_lightning.pretrained.formats.hourglass import state_of
from dife_lightning.utils.caching import ObjectCache
from dife_lightning.weights.checkpoints import find_weights, network_from
from dife_lightning.weights.pickles.reading import explained, read_pickled

#: Names of the two files in a folder of the authors.
WEIGHTS, SETTINGS = "model_best.pth", "args.pkl"
_MOST = 1000  # largest number in the settings
_loaded: ObjectCache[CATsNetwork] = ObjectCache()


def load_cats(name_or_path: str | Path) -> CATsNetwork:
    """Load a public network by name or path, frozen, once per process.

    Args:
        name_or_path: an ``own/...`` name such as ``own/cats-spair``, a folder, or the file with the weights; settings
            in the same folder are used.

    Raises:
        AssetError: neither a known name, nor a file or folder.
        CheckpointError: the file is damaged or no CATs network; names the first tensor that does not fit.
    """
    path = find_weights(name_or_path, in_folder)
    return _loaded.load(path, lambda _: _load(path), path.with_name(SETTINGS))


def in_folder(path: Path) -> Path:
    """Return the weights in a folder of the authors; CheckpointError if there are none."""
    if not (path / WEIGHTS).is_file():
        raise CheckpointError(
            f"{path} has no {WEIGHTS}; give the folder of a public CATs, or the file with its weights"
        )
    return path / WEIGHTS


def _load(path: Path) -> CATsNetwork:
    content, settings = read_pickled(path), path.with_name(SETTINGS)
    given = read_pickled(settings) if settings.is_file() else {}
    if not isinstance(given, dict):
        raise CheckpointError(f"{settings} holds a {type(given).__name__}, expected the settings of a training.")
    with explained(path):
        return build(state_of(content), path, given).eval().requires_grad_(False)


def build(state: Mapping[str, Tensor], source: str | Path, settings: Mapping[str, Any] | None = None) -> CATsNetwork:
    """Build the network of ``state`` and load its weights.

    Of the ``settings`` of a training, ``hyperpixel`` and ``num_heads`` are used; the paper's values are the default.
    CheckpointError for another network or invalid settings, or names the first tensor that does not fit.
    """
    if not is_cats(state):
        found = ", ".join(list(state)[:3]) or "no tensors"
        raise CheckpointError(f"{source} is no CATs checkpoint (no decoder.pos_embed_x); found {found}.")
    settings = settings or {}
    hyperpixels, heads = _hyperpixels(settings.get("hyperpixel"), source), settings.get("num_heads")
    if heads is not None and not (type(heads) is int and 0 < heads < _MOST):
        raise CheckpointError(f"{source}: {SETTINGS} has num_heads {str(heads)[:40]!r}, expected a number of heads.")
    return network_from(lambda: CATsNetwork(read_architecture(state, hyperpixels, heads, source)), state, source)


def _hyperpixels(value: Any, source: str | Path) -> tuple[int, ...] | None:
    """Return the numbers of ``"[0,8,20]"`` or of a list; None for none."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(list(value)) if isinstance(value, list | tuple) else ""
    numbers = [int(number) for number in re.findall(r"\d+", text) if len(number) < 4]
    if not re.fullmatch(r"\s*[\[(]?\s*\d+(\s*,\s*\d+)*\s*[\])]?\s*", text) or not numbers:
        raise CheckpointError(
            f"{source}: {SETTINGS} has hyperpixel {str(value)[:40]!r}, expected numbers like '[0,8,20]'."
        )
    return tuple(numbers)
