"""DIFE (Dense Interspecies Face Embedding) and keypoint transfer between faces of different species.

Everything public is listed in ``__all__`` and imported on first use (PEP 562), so that ``import dife_lightning``
costs nothing: neither torch nor Lightning is loaded by it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dife_lightning._version import __version__

if TYPE_CHECKING:
    from dife_lightning.datasets._load import load_dataset as load_dataset
    from dife_lightning.faces.images import read_image as read_image
    from dife_lightning.loading import load as load
    from dife_lightning.matching import transfer as transfer
    from dife_lightning.pretrained.embedders import load_embedder as load_embedder
    from dife_lightning.pretrained.generators import load_generator as load_generator
    from dife_lightning.registry import list_datasets as list_datasets
    from dife_lightning.registry import list_methods as list_methods

#: Public name -> the module that defines it.
_HOMES = {
    "load": "dife_lightning.loading",
    "read_image": "dife_lightning.faces.images",
    "load_dataset": "dife_lightning.datasets._load",
    "load_generator": "dife_lightning.pretrained.generators",
    "load_embedder": "dife_lightning.pretrained.embedders",
    "transfer": "dife_lightning.matching",
    "list_methods": "dife_lightning.registry",
    "list_datasets": "dife_lightning.registry",
}

__all__ = [  # noqa: RUF022 (in the order a reader meets them)
    "load",
    "read_image",
    "load_dataset",
    "load_generator",
    "load_embedder",
    "transfer",
    "list_methods",
    "list_datasets",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
