"""Horse Facial Keypoint: cropped faces of horses, 5 points."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.box_lists import BOXES, with_boxes, with_whole_pictures
from dife_lightning.datasets.parsing.files import FaceFiles, choose, root_folder
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.datasets.parsing.text import read_lines
from dife_lightning.errors import DataError, reason_of
from dife_lightning.weights.user_paths import user_path

DATASET = "HorseFaces"

#: Lists of the authors.
LISTS = {"train": "train_horse.txt", "test": "test_minLoss_horse.txt"}
#: ``picture labels`` in a list; both may contain blanks.
_LINE = re.compile(r"(.+\.(?:jpe?g|png|bmp))\s+(.+\.npy)", re.IGNORECASE)


class HorseFaces(FaceFiles):
    """Crops of horses' faces, mostly 224 x 224, with up to five points each: eyes, nose, corners of the mouth.

    Args:
        root: the unpacked folder ``release_data``, or its folder ``horse``.
        split: ``train`` or ``test``, for the authors' lists in ``root`` or in ``root/horse``.
        names: another list in the authors' form, lines of ``picture labels``; a relative path is searched for in
            ``root`` first; ``own/...`` is one in a folder of ``paths.yaml``.
        boxes: CSV file with the columns img, x, y, w, h (found as ``names`` is), or ``whole`` for whole pictures, as
            in the published evaluation; by default ``bbox.csv`` in ``root``, if it exists.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "horse"
    scheme = "horse-5"

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "test"] = "test",
        names: str | Path | None = None,
        boxes: str | Path | None = None,
        skip_broken: bool = False,
    ) -> None:
        choose(self.name, "split", split, LISTS)
        folder, faults = root_folder(root), Faults(skip_broken)
        path = _find(folder, LISTS[split] if names is None else names, "list file", "names= (lines 'picture labels')")
        chosen = {"split": split} if names is None else {"names": str(names)}
        table = _read(folder, path, faults)
        if boxes != "whole" and (boxes is not None or (folder / BOXES).is_file()):
            file = _find(folder, boxes or BOXES, "file of boxes", "boxes= (columns img, x, y, w, h), or boxes=whole")
            table = with_boxes(table, file, faults, below="horse/")
        super().__init__(table, faults, chosen)
        if boxes == "whole":
            self._table = with_whole_pictures(self._table)


def _find(root: Path, file: str | Path, what: str, option: str) -> Path:
    places = (root / file, root / "horse" / file, root.parent / file, user_path(file))
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"no {what} {places[0]} or {places[1]}. Pass one with {option}.")


def _read(root: Path, path: Path, faults: Faults) -> FaceTable:
    numbers, images, labels = [], [], []
    lines = read_lines(path)
    missing = []
    for number, text in zip(lines.numbers, lines.texts, strict=True):
        with faults.at(f"{path}, row {number}"):
            found = _LINE.fullmatch(text)
            if found is None:
                raise Fault(f"'{text}', expected a picture and a .npy file")
            file = root / _below(root, found[2])
            if not file.is_file():
                missing.append((f"{path}, row {number}", f"no file {file}; expected labels there"))
                continue
            labels.append(_read_labels(file))
            numbers.append(number)
            images.append(_below(root, found[1]))
    faults.add_all(missing)
    values = np.array(labels, dtype=np.float64).reshape(len(numbers), 5, 3)
    visible = values[..., 2] > 0
    points = np.where(visible[..., None], values[..., :2], 0)
    return FaceTable(path, numbers, root, images, points, count=5, visible=visible)


def _below(root: Path, listed: str) -> str:
    """Return a listed path relative to ``root``; lists hold paths of the machine that they were made on."""
    parts = [part for part in re.split(r"[\\/]", listed) if part not in ("", ".", "..")]
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return next((tail for tail in tails if (root / tail).is_file()), tails[0])


def _read_labels(path: Path) -> NDArray[np.float64]:
    """Return the (5, 3) labels x, y, flag of a file; Fault says what is wrong with the file."""
    try:
        values = np.load(path, allow_pickle=False)
    except Exception as error:  # damaged bytes raise errors of many kinds
        raise Fault(f"{path} is no array of numbers ({reason_of(error)})") from None
    if values.shape != (5, 3) or values.dtype.kind not in "iuf":
        raise Fault(f"{path} holds {values.dtype} of shape {values.shape}, expected numbers of shape (5, 3)")
    bad = np.flatnonzero(~np.isfinite(values[:, 2]))
    if len(bad):
        raise Fault(f"the flag of point {bad[0]} is {values[bad[0], 2]}, expected 1 or -1")
    return np.asarray(values, dtype=np.float64)
