"""``dife_lightning.load_dataset``: annotated faces by the name of the data set."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.registry import get_dataset
from dife_lightning.weights.user_paths import user_path


def load_dataset(name: str, root: str | Path | None = None, **options: Any) -> FaceFiles:
    """Read a data set of annotated faces in the layout in which it is distributed.

    Example:
        >>> faces = load_dataset("animalweb", "data/animalweb", species=["domesticdog", "husky"])
        >>> face = faces[0]  # image (H, W, 3) uint8, points (9, 2), visible (9,), name

    Args:
        name: one of ``list_datasets()``; ``docs/datasets.md`` describes each.
        root: its folder, or a name such as ``own/ap10k`` from the user's ``paths.yaml`` (see ``weights.user_paths``).
        **options: of the reader: splits, species and so on. All readers take ``skip_broken=True``, which opens every
            picture once and skips faces that cannot be used.

    Returns:
        A :class:`dife_lightning.faces.items.FaceDataset` with ``scheme``, ``name``, ``annotations`` (available without
        opening pictures) and the faces; also ``left_out`` (skipped faces) and ``facts`` (for the record of a result).

    Raises:
        ConfigError: unknown data set, option or value; or the world, which is rendered and not read.
        DataError: files are missing or have another form; the message names file and row and what was expected.
    """
    cls = get_dataset(name)
    if not issubclass(cls, FaceFiles):
        raise ConfigError(
            f"dataset '{name}' is rendered, not read from a folder: use registry.get_dataset('{name}')"
            f"{inspect.signature(cls)} instead."
        )
    check_options(name, cls, options)
    if root is None:
        raise ConfigError(f"{name}: no root given; expected the folder that holds the data set.")
    folder = user_path(root)
    reader: Callable[..., FaceFiles] = cls
    return reader(folder, **options)


def check_options(name: str, cls: type[FaceFiles], options: dict[str, Any]) -> None:
    """Raise ConfigError for an option that the reader does not have, or a required one that is missing."""
    known = {
        option: p.default is p.empty for option, p in inspect.signature(cls).parameters.items() if option != "root"
    }
    for option in options:
        if option not in known:
            raise ConfigError(f"{name}: unknown option '{option}'. {did_you_mean(option, known)}")
    for option, needed in known.items():
        if needed and option not in options:
            raise ConfigError(f"{name}: option '{option}' is required. Options: {', '.join(known)}.")
