"""Boxes of faces in the published form of Meta-CSKT: CSV lines ``img,x,y,w,h``, in pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dife_lightning.datasets.parsing.csv_files import read_csv
from dife_lightning.datasets.parsing.published_lists import plain_name
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.datasets.parsing.text import parse_numbers
from dife_lightning.faces.image_info import shown_size
from dife_lightning.utils.notes import some

#: Name of the published file.
BOXES = "bbox.csv"
_COLUMNS = ("img", "x", "y", "w", "h")


def with_boxes(table: FaceTable, path: Path, faults: Faults, below: str = "") -> FaceTable:
    """Return the table with the boxes of a file; faces that it lacks have none, and a note counts them.

    Args:
        table: of the faces.
        path: of the CSV file; rows of other faces are ignored.
        faults: where a line of another form is reported.
        below: folder that the file may have before the names of the faces.

    Raises:
        DataError: there is no such file, or it has another form.
    """
    boxes = _read(path, faults)
    found = [boxes.get(plain_name(name)) or boxes.get(plain_name(below + name)) for name in table.names]
    lacking = [name for name, box in zip(table.names, found, strict=True) if box is None]
    if lacking:
        faults.say(f"{len(lacking)} of {len(table)} faces have no box in {path}: {some(lacking)}")
    corners = [[np.nan] * 4 if box is None else box for box in found]
    return table.changed(boxes=np.array(corners, np.float32).reshape(-1, 4))


def with_whole_pictures(table: FaceTable) -> FaceTable:
    """Return the table with whole pictures as boxes; DataError for a picture that cannot be opened."""
    sizes = np.array([shown_size(table.folder / image) for image in table.images], np.float32).reshape(-1, 2)
    return table.changed(boxes=np.hstack((np.full_like(sizes, -0.5), sizes - 0.5)))


def _read(path: Path, faults: Faults) -> dict[str, list[float]]:
    columns, rows = read_csv(path, _COLUMNS)
    places = [columns.index(name) for name in _COLUMNS]
    boxes: dict[str, list[float]] = {}
    for number, cells in rows:
        picked = [cells[place] for place in places if place < len(cells)]
        try:
            x, y, width, height = parse_numbers(picked[1:], 4)
        except Fault as fault:
            faults.add(f"{path}, row {number}", f"{fault}, after the name of the picture")
        else:
            boxes[plain_name(picked[0])] = [x, y, x + width, y + height]
    return boxes
