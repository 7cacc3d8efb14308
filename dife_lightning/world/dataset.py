"""Annotated faces of the embedded world, cached arrays of renders, and mean shapes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.faces.items import FaceItem
from dife_lightning.utils.caching import cached_array
from dife_lightning.utils.checks import require
from dife_lightning.world.face.species import load_species
from dife_lightning.world.scene.factors import Split, sample_rng
from dife_lightning.world.scene.framing import FramingKind, framing_for
from dife_lightning.world.scene.renderer import (
    WORLD_VERSION,
    WorldSample,
    check_size,
    landmarks_only,
    render,
    render_image,
)

Progress = Callable[[int, int], None]
_CHUNK = 64


class WorldFaces:
    """The first ``count`` renders of a species and split, as a data set of annotated faces.

    Args:
        species: name of a shipped species.
        split: ``train``, ``val`` or ``test``.
        count: number of faces.
        framing: ``plain``, or ``jittered`` as in the evaluation.
        size: side in pixels.
        seed: of the framing only.

    Raises:
        ConfigError: unknown species, split or framing, a count below 1, a size below 8 or a negative seed.
    """

    #: Landmark scheme (see ``dife_lightning.faces.schemes``).
    scheme: ClassVar[str] = "animalweb-9"

    def __init__(
        self,
        species: str,
        split: Split,
        count: int,
        framing: FramingKind = "plain",
        size: int = 64,
        seed: int = 0,
    ) -> None:
        load_species(species)
        sample_rng(species, split, 0)
        check_size(size)
        require(at_least=1, count=count)
        framing_for(framing, seed, 0)
        self.species, self.split, self.count = species, split, count
        self.framing, self.size, self.seed = framing, size, seed

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> WorldSample:
        """Return face ``index`` with its ground truth; negative indices count from the end."""
        if not -self.count <= index < self.count:
            raise IndexError(f"index {index} of a data set of {self.count}")
        index %= self.count
        framing = framing_for(self.framing, self.seed, index)
        return render(self.species, self.split, index, size=self.size, framing=framing)

    def __getitem__(self, index: int) -> FaceItem:
        sample = self.sample(index)
        name = f"world/{self.species}/{self.split}/{index % self.count}"
        return {"image": sample.image, "points": sample.points, "visible": sample.visible, "name": name}

    def __iter__(self) -> Iterator[FaceItem]:
        return (self[index] for index in range(self.count))


@lru_cache(maxsize=64)
def _mean_shape(species: str, framing_kind: FramingKind, count: int) -> NDArray[np.float32]:
    shapes = []
    for index in range(count):
        framing = framing_for(framing_kind, 0, index)
        shapes.append(landmarks_only(species, "train", index, size=64, framing=framing)[0])
    mean = np.asarray(np.mean(shapes, axis=0, dtype=np.float64), np.float32)
    mean.setflags(write=False)
    return mean


def mean_shape(species: str, framing_kind: FramingKind, size: int, count: int = 500) -> NDArray[np.float32]:
    """Return the mean landmarks (9, 2) of ``count`` training renders, in pixels of a ``size`` x ``size`` image."""
    return (_mean_shape(species, framing_kind, count) + np.float32(0.5)) * np.float32(size / 64) - np.float32(0.5)


def render_arrays(
    species: str,
    split: Split,
    count: int,
    size: int,
    cache: Path | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Render the images 0 to ``count`` - 1 without framing.

    Args:
        species: name of a shipped species.
        split: ``train``, ``val`` or ``test``.
        count: number of images.
        size: side in pixels.
        cache: folder of the cached .npy file, which is memory-mapped if it exists and written otherwise; None for no
            cache. A folder that is not writable is no error.
        workers: number of processes; 0 renders in this one.
        progress: called with (done, count).

    Returns:
        (count, size, size, 3) uint8 RGB.

    Raises:
        ConfigError: unknown species or split, a count below 1 or a size below 8.
    """
    path = cache_path(cache, species, split, count, size, "npy")
    shape = (count, size, size, 3)

    def make() -> NDArray[np.uint8]:
        images = np.empty(shape, np.uint8)
        starts = range(0, count, _CHUNK)
        job = partial(_render_chunk, species, split, count, size)
        for start, chunk in zip(starts, _map(job, starts, workers), strict=True):
            images[start : start + len(chunk)] = chunk
            if progress is not None:
                progress(start + len(chunk), count)
        return images

    return cached_array(path, shape, np.uint8, make)


def _map(job: Callable[[int], NDArray[np.uint8]], starts: range, workers: int) -> Iterator[NDArray[np.uint8]]:
    if workers <= 1:
        yield from map(job, starts)
        return
    # spawn, because a forked child of a process with OpenCV or torch threads can hang
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_single_thread) as pool:
        yield from pool.imap(job, starts)


def _single_thread() -> None:
    cv2.setNumThreads(1)


def _render_chunk(species: str, split: Split, count: int, size: int, start: int) -> NDArray[np.uint8]:
    return np.stack([render_image(species, split, i, size=size) for i in range(start, min(start + _CHUNK, count))])


def cache_path(cache: Path | None, species: str, split: str, count: int, size: int, suffix: str) -> Path | None:
    """Return the cache file of the renders 0 to ``count`` - 1, named by everything that they depend on.

    Raises:
        ConfigError: unknown species, or a count below 1.
    """
    table = hashlib.sha256(json.dumps(repr(load_species(species))).encode()).hexdigest()
    require(at_least=1, count=count)
    name = f"world-v{WORLD_VERSION}-{species}-{split}-{count}x{size}-{zlib.crc32(table.encode()):08x}.{suffix}"
    return None if cache is None else Path(cache) / name
