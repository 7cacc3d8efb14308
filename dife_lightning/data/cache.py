"""A folder of prepared evaluation sets, so that the same thousands of renders are not made again for each test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.faces.batches import PairArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.utils.cached_arrays import read_arrays, write_arrays
from dife_lightning.utils.files import cache_folder

#: Raise it when the content of a cache file changes meaning.
FORMAT = 1
_ARRAYS = ("source_image", "target_image", "source_points", "target_points", "visible", "pair_id")
#: Arrays of a :class:`PictureCrop`, of source and of target.
_CROPS = tuple(f"{side}_{name}" for side in ("source", "target") for name in ("file", "picture_size", "to_picture"))


def prepare(pairs: KeypointPairs, key: Sequence[Any], num_workers: int = 0, *, disk: bool = True) -> None:
    """Hold all items of ``pairs`` in memory: from the cache where it has them, else made now and kept there.

    Args:
        pairs: the set; it answers from memory afterwards.
        key: everything that the items depend on (versions, list hash, framing, size, seeds).
        num_workers: processes that make the items.
        disk: read and write the cache folder.

    A cache file that is damaged or of another shape is made anew; a folder that cannot be written is no error.
    """
    digest = hashlib.sha256(repr((FORMAT, *key)).encode()).hexdigest()[:24]
    path = cache_folder() / "pairs" / f"{digest}.npz"
    items = _read(path, pairs) if disk else None
    if items is None:
        items = _make(pairs, num_workers)
        if disk:
            _write(path, items)
    pairs.prepared = items


def _make(pairs: KeypointPairs, num_workers: int) -> list[PairArrays]:
    loader = DataLoader(pairs, batch_size=None, num_workers=num_workers, collate_fn=_itself, worker_init_fn=_one_thread)
    return list(loader)


def _one_thread(_worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # its thread pool does not survive a fork


def _itself(item: Any) -> Any:
    return item


def _write(path: Path, items: Sequence[PairArrays]) -> None:
    arrays = {name: np.stack([getattr(item, name) for item in items]) for name in _ARRAYS}
    for side in ("source", "target"):
        crops: list[PictureCrop] = [getattr(item, f"{side}_crop") for item in items]
        arrays[f"{side}_file"] = np.array([crop.file_name for crop in crops])
        arrays[f"{side}_picture_size"] = np.array([(crop.width, crop.height) for crop in crops])
        arrays[f"{side}_to_picture"] = np.stack([crop.to_picture for crop in crops])
    write_arrays(path, arrays)


def _read(path: Path, pairs: KeypointPairs) -> list[PairArrays] | None:
    arrays = read_arrays(path, (*_ARRAYS, *_CROPS))
    shape = (len(pairs), pairs.size, pairs.size, 3)
    if arrays is None or arrays["source_image"].shape != shape or any(len(a) != len(pairs) for a in arrays.values()):
        return None
    crops = {
        f"{side}_crop": _crops(*(arrays.pop(name) for name in _CROPS if side in name)) for side in ("source", "target")
    }
    columns: dict[str, Any] = {**arrays, **crops, "pair_id": [str(name) for name in arrays.pop("pair_id")]}
    return [PairArrays(**{key: column[i] for key, column in columns.items()}) for i in range(len(pairs))]


def _crops(files: NDArray[Any], sizes: NDArray[Any], matrices: NDArray[Any]) -> list[PictureCrop]:
    rows = zip(files.tolist(), sizes.tolist(), matrices, strict=True)
    return [PictureCrop(file, width, height, matrix) for file, (width, height), matrix in rows]
