"""Annotated pictures per second of each reader: alone, with two workers, cropped, and from the crop cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch.utils.data import DataLoader

from dife_lightning import load_dataset
from dife_lightning.data.cache import prepare
from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.data.photos.cropped_faces import ALL_POINTS, CroppedFaces
from dife_lightning.faces.schemes import get_scheme
from experiments.bench.timing import Conditions, Timing, timed
from tests.datasets.layouts import LAYOUTS, draw_face

#: Pictures of each data set, how often each is read in a call, and their height and width.
PICTURES, TIMES, SHAPE = 24, 5, (400, 320)
SIZE = 96


def readers_case(conditions: Conditions) -> list[Timing]:
    """Write each public layout with drawn pictures and read it in all ways."""
    found: list[Timing] = []
    for name in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, DIFE_CACHE=f"{folder}/cache"):
            found += _timings(name, Path(folder) / "data", conditions)
    return found


def _timings(name: str, root: Path, conditions: Conditions) -> Iterator[Timing]:
    layout, count = LAYOUTS[name], 2 if conditions.small else PICTURES
    shape = (96, 80) if conditions.small else SHAPE
    layout.write(root, [draw_face(layout.scheme, seed, shape) for seed in range(count)])
    faces: Any = load_dataset(name, root, **layout.options)
    order = list(range(count)) * (1 if conditions.small else TIMES)
    crops = CroppedFaces(faces, SIZE)
    ways: dict[str, Any] = {
        "reader": lambda: [faces[index] for index in order],
        "reader-crop": lambda: [crops[index] for index in order],
    }
    if not conditions.small:  # workers take longer to start than a few pictures to read
        loader: Any = DataLoader(faces, sampler=order, batch_size=None, num_workers=2, persistent_workers=True)
        ways["reader-2-workers"] = lambda: list(loader)
    for way, call in ways.items():
        yield timed(f"{way}-{name}", conditions, call, len(order), "images/s")
    if get_scheme(faces.scheme).maps:
        cached = partial(prepare, _pairs(faces, count), ("bench", name))  # the first call, not timed, fills the cache
        yield timed(f"reader-cache-{name}", conditions, cached, 2 * count, "images/s")


def _pairs(faces: Any, count: int) -> KeypointPairs:
    crops = CroppedFaces(faces, SIZE, landmarks=ALL_POINTS)
    indices = [(index, index) for index in range(count)]
    return KeypointPairs(crops, crops, indices, pair="a+b", list_name="bench", size=SIZE, scheme=faces.scheme)
