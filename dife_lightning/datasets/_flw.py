"""CatFLW and DogFLW: a picture, and a JSON file with points and a box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets._faults import Fault, Faults
from dife_lightning.datasets._pictures import by_stem, list_names
from dife_lightning.datasets._points import POINTS
from dife_lightning.datasets._table import FaceTable
from dife_lightning.datasets._text import read_text
from dife_lightning.errors import DataError


def read_flw(root: Path, scheme: str, faults: Faults) -> FaceTable:
    """Read the faces of ``root/labels``, in the order of their names.

    Args:
        root: folder with ``images`` and ``labels``.
        scheme: of the points.
        faults: is told of files of another form.

    Raises:
        DataError: a folder is missing.
    """
    pictures = by_stem(list_names(root / "images"))
    files, points, boxes, images = [], [], [], []
    for stem, file in by_stem(list_names(root / "labels"), (".json",)).items():
        try:
            content = _read(root / "labels" / file, POINTS[scheme])
        except Fault as fault:
            faults.add(str(root / "labels" / file), str(fault))
            continue
        files.append(file)
        points.append(content["labels"])
        boxes.append(content.get("bounding_boxes", [np.nan] * 4))
        images.append(pictures.get(stem, f"{stem}.png"))
    stacked = np.array(points, dtype=np.float32).reshape(len(files), POINTS[scheme], 2)
    return FaceTable(
        file=root / "labels",
        label="/",
        keys=files,
        folder=root / "images",
        images=images,
        names=images,
        points=stacked,
        visible=np.ones(stacked.shape[:2], dtype=bool),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
    )


def _read(path: Path, count: int) -> dict[str, NDArray[np.float64]]:
    """Return ``labels`` (count, 2) and perhaps ``bounding_boxes`` (4); Fault says what is wrong with a file."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise Fault(f"not JSON ({error.msg} in row {error.lineno})") from None
    except DataError as error:
        raise Fault(str(error).rstrip(".")) from None
    if not isinstance(content, dict) or "labels" not in content:
        raise Fault("no 'labels'; expected labels and bounding_boxes")
    found = {"labels": _numbers(content["labels"], "labels", (count, 2))}
    if "bounding_boxes" in content:
        found["bounding_boxes"] = _numbers(content["bounding_boxes"], "bounding_boxes", (4,))
    return found


def _numbers(values: Any, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (ValueError, TypeError):
        raise Fault(f"{key}: no array of numbers, expected shape {shape}") from None
    numbers = numbers.ravel() if key == "bounding_boxes" else numbers  # a box may be one in a list
    if numbers.shape != shape:
        raise Fault(f"{key}: shape {numbers.shape}, expected {shape}")
    if not np.isfinite(numbers).all():
        raise Fault(f"{key}: NaN or infinity, expected finite numbers")
    return numbers
