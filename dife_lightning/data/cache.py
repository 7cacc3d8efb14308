"""On-disk cache of prepared evaluation pairs, so that thousands of renders and crops are made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.faces.batches import PairArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.utils.caching import cache_file, read_arrays, write_arrays

#: Increase it when the content of a cache file changes its meaning.
FORMAT = 1
_ARRAYS = ("source_image", "target_image", "source_points", "target_points", "visible", "pair_id")
_CROPS = ("file", "picture_size", "to_picture")
_SIDES = ("source", "target")


def prepare(pairs: KeypointPairs, key: Sequence[Any], num_workers: int = 0, *, disk: bool = True) -> None:
    """Load all items of ``pairs`` into memory: from the cache if they are there, else make and store them.

    ``key`` is everything that the items depend on (versions, list hash, framing, size, seeds). With ``disk``, the cache
    folder is read and written.
    """
    path = cache_file("pairs", repr((FORMAT, *key)).encode())
    names = (*_ARRAYS, *(f"{side}_{name}" for side in _SIDES for name in _CROPS))
    items = _read(read_arrays(path, names) if disk else None, pairs)
    if items is None:
        items = list(DataLoader(pairs, None, num_workers=num_workers, collate_fn=itself, worker_init_fn=one_thread))
        if disk:
            write_arrays(path, _columns(items))
    pairs.prepared = items


def one_thread(_worker: int) -> None:
    """Let OpenCV use one thread in a loader process."""
    import cv2

    cv2.setNumThreads(0)  # OpenCV's thread pool does not survive a fork


def itself(item: Any) -> Any:
    """Return an item as it is: the collate function of loaders of single items."""
    return item


def _columns(items: Sequence[PairArrays]) -> dict[str, NDArray[Any]]:
    arrays = {name: np.stack([getattr(item, name) for item in items]) for name in _ARRAYS}
    for side in _SIDES:
        crops: list[PictureCrop] = [getattr(item, f"{side}_crop") for item in items]
        arrays[f"{side}_file"] = np.array([crop.file_name for crop in crops])
        arrays[f"{side}_picture_size"] = np.array([(crop.width, crop.height) for crop in crops])
        arrays[f"{side}_to_picture"] = np.stack([crop.to_picture for crop in crops])
    return arrays


def _read(arrays: dict[str, NDArray[Any]] | None, pairs: KeypointPairs) -> list[PairArrays] | None:
    shape = (len(pairs), pairs.size, pairs.size, 3)
    if arrays is None or arrays["source_image"].shape != shape or any(len(a) != len(pairs) for a in arrays.values()):
        return None
    columns: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
    columns["pair_id"] = arrays["pair_id"].tolist()
    for side in _SIDES:
        files, sizes, matrices = (arrays[f"{side}_{name}"] for name in _CROPS)
        rows = zip(files.tolist(), sizes.tolist(), matrices, strict=True)
        columns[f"{side}_crop"] = [PictureCrop(file, width, height, matrix) for file, (width, height), matrix in rows]
    return [PairArrays(**{name: column[i] for name, column in columns.items()}) for i in range(len(pairs))]
