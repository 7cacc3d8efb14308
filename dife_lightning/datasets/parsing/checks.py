"""What every table of faces must pass: finite points, no face twice, and a picture for each."""

from __future__ import annotations

import numpy as np

from dife_lightning.datasets.parsing.faults import Faults
from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.datasets.parsing.table import FaceTable


def drop_unfinite(table: FaceTable, faults: Faults) -> FaceTable:
    """Report faces with a labelled point at NaN or infinity."""
    bad = table.visible & ~np.all(np.isfinite(table.points), axis=-1)
    rows = np.any(bad, axis=-1)
    for row in np.flatnonzero(rows).tolist():
        point = int(np.argmax(bad[row]))
        x, y = table.points[row, point]
        faults.add(table.source(row), f"point {point} is ({x}, {y}), expected finite numbers")
    return table.where(~rows)


def drop_repeats(table: FaceTable, faults: Faults) -> FaceTable:
    """Report faces whose name, or whose picture and points, have been there before."""
    if len(set(table.names)) == len(set(table.images)) == len(table):
        return table
    first: dict[object, int] = {}
    repeated = set()
    for row in range(len(table)):
        whole = (table.images[row], table.points[row].tobytes())
        for key, what in ((table.names[row], f"'{table.names[row]}'"), (whole, "this picture with the same points")):
            if row not in repeated and first.setdefault(key, row) != row:
                repeated.add(row)
                faults.add(
                    table.source(row), f"{what} has been there before ({table.keys[first[key]]}); expected each once"
                )
    return table.where([row not in repeated for row in range(len(table))])


def drop_missing(table: FaceTable, faults: Faults) -> FaceTable:
    """Report faces without a picture; give the others the name that the picture has on disk."""
    found = find_pictures(table.folder, table.images)
    images = [found[image] for image in table.images]
    for row, image in enumerate(images):
        if image is None:
            faults.add(table.source(row), f"no picture {table.folder / table.images[row]}; expected it there")
    if None not in images and images == list(table.images):
        return table
    kept = [(row, image) for row, image in enumerate(images) if image is not None]
    chosen = table.take(row for row, _ in kept)
    return chosen.with_images([image for _, image in kept])
