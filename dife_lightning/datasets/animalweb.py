"""AnimalWeb: faces of 350 species, 9 points."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dife_lightning.datasets.parsing.csv_files import read_csv
from dife_lightning.datasets.parsing.files import FaceFiles, as_list, choose, root_folder
from dife_lightning.datasets.parsing.pictures import by_stem, list_names
from dife_lightning.datasets.parsing.pts import PtsFace, list_faces, read_faces
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.datasets.parsing.text import parse_numbers, read_names
from dife_lightning.errors import DataError
from dife_lightning.faces.images import SUFFIXES

DATASET = "AnimalWeb"

#: Where the flat folder is in the archive.
_FOLDERS = ("", "animal_dataset_v1_clean_check", "animal_dataset_v1_c/animal_dataset_v1_clean_check")
_BOX = ("img", "x", "y", "w", "h")


class AnimalWeb(FaceFiles):
    """Faces of animals with 9 points; the group is the species.

    Args:
        root: the flat folder of ``<species>_<n>.jpg`` and ``.pts`` files, or the folder of the unpacked archive.
        species: only these, for example ``domesticdog``, or a list of them; by default all.
        names: text file of picture names, one per line, with or without suffix: only these faces, in its order. A
            relative path is searched for in ``root`` first.
        boxes: CSV file with the columns img, x, y, w, h (found as ``names`` is); by default ``bbox.csv`` in ``root``,
            if it exists. The data set itself has no boxes.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "animalweb"
    scheme = "animalweb-9"

    def __init__(
        self,
        root: str | Path,
        species: str | Sequence[str] | None = None,
        names: str | Path | None = None,
        boxes: str | Path | None = None,
        skip_broken: bool = False,
    ) -> None:
        base, faults = root_folder(root), Faults(skip_broken)
        folder = _flat_folder(base)
        faces = list_faces(folder, group=lambda stem: stem.rpartition("_")[0])
        known, wanted = sorted({face.group for face in faces}), as_list(species)
        for one in wanted:
            choose(self.name, "species", one, known)
        if names is not None:
            faces = _listed(faces, _find(base, names), faults)
        faces = [face for face in faces if not wanted or face.group in wanted]
        table = read_faces(folder, faces, 9, 0, faults)
        if boxes is not None or (base / "bbox.csv").is_file():
            table = _with_boxes(table, _find(base, boxes or "bbox.csv"), faults)
        super().__init__(table, faults, {"species": wanted, "names": None if names is None else str(names)})


def _flat_folder(root: Path) -> Path:
    for below in _FOLDERS:
        if (root / below).is_dir() and by_stem(list_names(root / below), (".pts",)):
            return root / below
    raise DataError(
        f"no .pts files in {root}, nor in {root / _FOLDERS[1]}. Give the folder of the .jpg and .pts files."
    )


def _find(root: Path, file: str | Path) -> Path:
    """Return a file relative to the root, else relative to the current folder."""
    path = Path(os.path.expanduser(file))
    return root / path if (root / path).is_file() or not path.is_file() else path


def _listed(faces: Sequence[PtsFace], path: Path, faults: Faults) -> list[PtsFace]:
    """Return the faces in a list, in its order."""
    known = {_stem(face.image): face for face in faces}
    chosen = []
    for name, row in read_names(path, faults).items():
        if _stem(name) in known:
            chosen.append(known[_stem(name)])
        else:
            faults.add(f"{path}, row {row}", f"no points for '{name}'; expected a .pts file of that name")
    return chosen


def _stem(name: str) -> str:
    """Return a picture's name without its suffix, which may differ between disk and list."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def _with_boxes(table: FaceTable, path: Path, faults: Faults) -> FaceTable:
    columns, rows = read_csv(path, _BOX)
    places = [columns.index(name) for name in _BOX]
    boxes: dict[str, list[float]] = {}
    for number, cells in rows:
        picked = [cells[place] for place in places if place < len(cells)]
        try:
            x, y, width, height = parse_numbers(picked[1:], 4)
        except Fault as fault:
            faults.add(f"{path}, row {number}", f"{fault}, after the name of the picture")
        else:
            boxes[_stem(picked[0])] = [x, y, x + width, y + height]
    found = [boxes.get(_stem(name), [np.nan] * 4) for name in table.names]
    return table.changed(boxes=np.array(found, np.float32).reshape(-1, 4))
