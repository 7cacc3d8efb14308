"""Cache of inversions: in memory by image, on disk by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.latent.inversion import Inversion
from dife_lightning.pretrained.generators import Generator
from dife_lightning.utils.caching import read_arrays, write_arrays
from dife_lightning.utils.files import cache_folder

#: Increase when the result for the same settings changes.
FORMAT = 1


class InversionCache:
    """Cache of inversions, by image, generator weights, settings and device type; on disk one file per batch.

    Args:
        settings: everything else that the inversions depend on; its ``repr`` must show all values.
        disk: also use the cache folder (``DIFE_CACHE``), so that an interrupted evaluation can continue.
    """

    def __init__(self, settings: Any, *, disk: bool = True) -> None:
        self._settings, self._disk = repr(settings), disk
        self._weights: dict[Generator, str] = {}
        self._found: dict[str, tuple[Tensor, Tensor]] = {}

    def get(self, images: Tensor, generator: Generator, invert: Callable[[Tensor], Inversion]) -> Inversion:
        """Return w and pose of ``images``, on their device.

        Args:
            images: (B, 3, H, W) float32.
            generator: on the device of ``images``.
            invert: inverts images (N, 3, H, W) that are not in the cache.
        """
        base = f"{FORMAT} {self._digest_of(generator)} {self._settings} {images.device.type} {tuple(images.shape[1:])}"
        keys = [_sha256(base.encode(), image.cpu().numpy().tobytes()) for image in images]
        if any(key not in self._found for key in keys):
            path = cache_folder() / "inversions" / f"{_sha256(*(key.encode() for key in keys))[:24]}.npz"
            if not self._read(path, keys, generator):
                new = {key: i for i, key in enumerate(keys) if key not in self._found}
                found = invert(images[list(new.values())])
                self._found |= dict(zip(new, zip(found.w.cpu(), found.pose.cpu(), strict=True), strict=True))
                self._write(path, keys)
        w, pose = (torch.stack([self._found[key][i] for key in keys]).to(images.device) for i in (0, 1))
        return Inversion(w, pose)

    def _digest_of(self, generator: Generator) -> str:
        if generator not in self._weights:
            state = generator.network.state_dict()
            parts = [part for name in sorted(state) for part in (name.encode(), _bytes(state[name]))]
            self._weights[generator] = _sha256(*parts)
        return self._weights[generator]

    def _read(self, path: Path, keys: list[str], generator: Generator) -> bool:
        arrays = read_arrays(path, ("w", "pose")) if self._disk else None
        shapes = {"w": (len(keys), generator.num_ws, generator.w_dim), "pose": (len(keys), 4)}
        if arrays is None or any(not _fits(arrays[name], shape) for name, shape in shapes.items()):
            return False
        w, pose = (torch.from_numpy(arrays[name]) for name in ("w", "pose"))
        self._found |= dict(zip(keys, zip(w, pose, strict=True), strict=True))
        return True

    def _write(self, path: Path, keys: list[str]) -> None:
        if self._disk:
            names = {name: [self._found[key][i] for key in keys] for i, name in enumerate(("w", "pose"))}
            write_arrays(path, {name: torch.stack(values).numpy() for name, values in names.items()})


def _fits(array: NDArray[Any], shape: tuple[int, ...]) -> bool:
    return array.dtype == np.float32 and array.shape == shape and bool(np.isfinite(array).all())


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
