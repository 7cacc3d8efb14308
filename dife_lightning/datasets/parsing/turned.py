"""Points of pictures that their EXIF header turns, where the file does not tell which picture they are of."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from dife_lightning.datasets.parsing.pictures import turn, turn_box
from dife_lightning.datasets.parsing.table import FaceTable, Faults
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.image_info import frame_of, image_info_cache
from dife_lightning.utils.notes import many, some

#: ``shown``: as viewers show the picture. ``stored``: as a program sees it that ignores EXIF. ``auto``: as the stated
#: size of the picture tells; without a size, ``shown``.
PointsOf = Literal["auto", "shown", "stored"]


def settle_turned(table: FaceTable, points_of: str, faults: Faults) -> FaceTable:
    """Return the table with all points in pixels of the pictures as they are shown.

    Reads the headers of the pictures whose size the table does not state (``auto``) or of all (which the cache of
    ``faces.image_info`` remembers). With ``auto``, a note says how many pictures are turned and what was assumed.
    ConfigError for another ``points_of``.
    """
    if points_of not in get_args(PointsOf):
        raise ConfigError(f"unknown points_of '{points_of}'. {did_you_mean(points_of, get_args(PointsOf))}")
    if points_of == "shown":
        return table.changed(sizes=None)
    sizes = np.zeros((len(table), 2)) if table.sizes is None else table.sizes
    rows = [row for row in range(len(table)) if points_of == "stored" or not sizes[row].all()]
    frames = {row: frame for row, frame in _frames(table, rows).items() if frame[2] != 1}
    if points_of == "stored":
        return _turned(table, frames)
    if frames:
        pictures = list(dict.fromkeys(table.images[row] for row in frames))
        faults.say(
            f"EXIF headers turn {many(len(pictures), 'picture')} ({some(pictures)}); the points are taken to be of the "
            "turned picture, as viewers show it (--points-of stored if the tool that marked them ignores EXIF)"
        )
    return table


def _frames(table: FaceTable, rows: list[int]) -> dict[int, tuple[int, int, int]]:
    """Return stored width, height and orientation of the pictures of some rows, without those that cannot be read."""
    found = {}
    with image_info_cache():
        for row in rows:
            try:
                found[row] = frame_of(table.folder / table.images[row])
            except DataError:
                continue  # reported when the picture is read
    return found


def _turned(table: FaceTable, frames: dict[int, tuple[int, int, int]]) -> FaceTable:
    points, boxes = table.points.copy(), None if table.boxes is None else table.boxes.copy()
    for row, (width, height, orientation) in frames.items():
        points[row] = turn(points[row], (width, height), orientation)
        points[row][~table.visible[row]] = 0
        if boxes is not None and not np.isnan(boxes[row]).any():
            boxes[row] = turn_box(boxes[row], (width, height), orientation)
    return table.changed(points=points, boxes=boxes, sizes=None)
