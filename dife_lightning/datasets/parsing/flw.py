"""The layout of CatFLW and DogFLW: pictures, and a JSON file with points and a box for each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.files import FaceFiles, root_folder
from dife_lightning.datasets.parsing.pictures import by_stem, list_names
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.datasets.parsing.text import read_text
from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import get_scheme


class FlwFaces(FaceFiles):
    """Faces with points and a box in the layout of CatFLW and DogFLW: folders ``images`` and ``labels``.

    The authors do not document which point is which part of the face, so the schemes are raw point sets.
    """

    #: Form of the names of files that state the animal, which is the first group; None where no name does.
    subject: re.Pattern[str] | None = None

    def __init__(self, root: str | Path, skip_broken: bool = False) -> None:
        folder, faults = root_folder(root), Faults(skip_broken)
        table = _read_all(folder, len(get_scheme(self.scheme).landmarks), faults)
        if self.subject is not None:
            found = [self.subject.fullmatch(Path(str(file)).stem) for file in table.keys]
            table = table.changed(subjects=[match[1] if match else "" for match in found])
        super().__init__(table, faults)


def _read_all(root: Path, count: int, faults: Faults) -> FaceTable:
    """Read the faces of ``root/labels``, of ``count`` points each, sorted by name."""
    pictures = by_stem(list_names(root / "images"))
    files, points, boxes, images = [], [], [], []
    for stem, file in by_stem(list_names(root / "labels"), (".json",)).items():
        with faults.at(str(root / "labels" / file)):
            content = _read(root / "labels" / file, count)
            files.append(file)
            points.append(content["labels"])
            boxes.append(content.get("bounding_boxes", np.full(4, np.nan)))
            images.append(pictures.get(stem, f"{stem}.png"))
    return FaceTable(root / "labels", files, root / "images", images, points, count=count, label="/", boxes=boxes)


def _read(path: Path, count: int) -> dict[str, NDArray[np.float64]]:
    """Return ``labels`` (count, 2) and, if given, ``bounding_boxes`` (4); Fault says what is wrong with the file."""
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
    numbers = numbers.ravel() if key == "bounding_boxes" else numbers  # some files have a box in a list
    if numbers.shape != shape:
        raise Fault(f"{key}: shape {numbers.shape}, expected {shape}")
    if not np.isfinite(numbers).all():
        raise Fault(f"{key}: NaN or infinity, expected finite numbers")
    return numbers
