"""Files of face boxes without landmarks: COCO detections (JSON), or a table (CSV)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.coco_files import id_of
from dife_lightning.datasets.parsing.columns import find_box, find_image
from dife_lightning.datasets.parsing.csv_files import read_csv
from dife_lightning.datasets.parsing.text import read_text
from dife_lightning.errors import DataError

#: Name of a picture as the file has it -> its boxes (4,), x0, y0, x1, y1 in pixels.
Boxes = Mapping[str, list[NDArray[np.float32]]]


def read_boxes(path: Path, say: Callable[[str], None] | None = None) -> Boxes:
    """Read the boxes of faces; ``say`` gets a line about what was guessed.

    Args:
        path: a COCO file with ``bbox`` in its annotations (``.json``), or a CSV file with a column ``image`` and those
            of a box (``box_x0, box_y0, box_x1, box_y1`` or ``box_x, box_y, box_w, box_h``).
        say: see above.

    Raises:
        DataError: there is no such file, it has another form, or a box has no area.
    """
    rows = _json_rows(path, say) if path.suffix.lower() == ".json" else _csv_rows(path, say)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for where, image, corners in rows:
        x0, y0, x1, y1 = corners
        if not all(map(math.isfinite, corners)) or x1 <= x0 or y1 <= y0:
            raise DataError(f"{where}: box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}); expected a positive area.")
        found.setdefault(image.replace("\\", "/"), []).append(np.array(corners, np.float32))
    if not found:
        raise DataError(f"{path} holds no box; leave it out to use whole pictures.")
    return found


def _csv_rows(path: Path, say: Callable[[str], None] | None) -> list[tuple[str, str, list[float]]]:
    content = read_csv(path, say=say)
    image, (box, has_size) = find_image(f"{path}, row 1", content), find_box(content.columns)
    if not box:
        raise DataError(f"{path}, row 1: no box; expected columns box_x0, box_y0, box_x1, box_y1.")
    found = []
    for number, cells in content.rows:
        where = f"{path}, row {number}"
        try:
            found.append((where, cells[image], _corners([float(cells[k]) for k in box], has_size)))
        except (ValueError, IndexError):
            raise DataError(f"{where}: no box in {cells}; expected four numbers.") from None
    return found


def _json_rows(path: Path, say: Callable[[str], None] | None) -> list[tuple[str, str, list[float]]]:
    try:
        content: Any = json.loads(read_text(path, say or (lambda _: None)))
        images = {id_of(entry["id"]): str(entry["file_name"]) for entry in content["images"]}
        annotations = list(content["annotations"])
    except (json.JSONDecodeError, KeyError, TypeError):
        raise DataError(f"{path} is no COCO file: expected lists 'images' and 'annotations' with 'bbox'.") from None
    found = []
    for k, entry in enumerate(annotations, 1):
        where = f"{path}, annotation {k}"
        try:
            x, y, width, height = map(float, entry["bbox"])
            found.append((where, images[id_of(entry["image_id"])], _corners([x, y, width, height], True)))
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{where}: no image or no bbox [x, y, width, height].") from None
    return found


def _corners(numbers: list[float], has_size: bool) -> list[float]:
    x, y, right, bottom = numbers
    return [x, y, x + right, y + bottom] if has_size else numbers
