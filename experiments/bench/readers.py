"""How many annotated pictures a second each reader gives: alone, with two workers, cropped, and from the crop cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from dife_lightning import load_dataset
from dife_lightning.data.cache import prepare
from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.data.photos.cropped_faces import ALL_POINTS, CroppedFaces
from dife_lightning.faces.schemes import get_scheme
from experiments.bench.timing import Conditions, Timing, timed, timing
from tests.datasets.layouts import LAYOUTS, draw_face

#: Pictures of each data set, how often each is read in a call, and their height and width.
PICTURES, TIMES, SHAPE = 24, 5, (400, 320)
SIZE = 96


def readers_case(conditions: Conditions) -> list[Timing]:
    """Write each public layout with drawn pictures and read it in all ways."""
    found: list[Timing] = []
    for name in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder, _cache(Path(folder) / "cache"):
            found += list(_records(name, Path(folder) / "data", conditions))
    return found


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("DIFE_CACHE")
    os.environ["DIFE_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DIFE_CACHE")
        if before is not None:
            os.environ["DIFE_CACHE"] = before


def _records(name: str, root: Path, conditions: Conditions) -> Iterator[Timing]:
    layout, count = LAYOUTS[name], 2 if conditions.small else PICTURES
    shape = (96, 80) if conditions.small else SHAPE
    layout.write(root, [draw_face(layout.scheme, seed, shape) for seed in range(count)])
    faces = load_dataset(name, root, **layout.options)
    order = list(range(count)) * (1 if conditions.small else TIMES)
    crops = CroppedFaces(faces, SIZE)
    ways: dict[str, Any] = {
        "reader": lambda: [faces[index] for index in order],
        "reader-crop": lambda: [crops[index] for index in order],
    }
    if not conditions.small:  # workers take longer to start than a few pictures to read
        loader = DataLoader(faces, sampler=order, batch_size=None, num_workers=2, persistent_workers=True)
        ways["reader-2-workers"] = lambda: list(loader)
    for way, call in ways.items():
        seconds, repeats = timed(call, conditions)
        yield timing(f"{way}-{name}", conditions, seconds, repeats, len(order), what="images/s")
    if get_scheme(faces.scheme).maps:
        pairs = _pairs(faces, count)
        prepare(pairs, ("bench", name))
        seconds, repeats = timed(lambda: prepare(_pairs(faces, count), ("bench", name)), conditions)
        yield timing(f"reader-cache-{name}", conditions, seconds, repeats, 2 * count, what="images/s")


def _pairs(faces: Any, count: int) -> KeypointPairs:
    crops = CroppedFaces(faces, SIZE, landmarks=ALL_POINTS)
    indices = [(index, index) for index in range(count)]
    return KeypointPairs(crops, crops, indices, pair="a+b", list_name="bench", size=SIZE, scheme=faces.scheme)
