"""AnimalWeb: faces of 350 species, 9 points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dife_lightning.datasets.parsing.box_lists import BOXES, with_boxes
from dife_lightning.datasets.parsing.files import FaceFiles, as_list, choose, root_folder
from dife_lightning.datasets.parsing.pictures import by_stem, list_names
from dife_lightning.datasets.parsing.pts import PtsFace, list_faces, read_faces
from dife_lightning.datasets.parsing.published_lists import plain_name, read_list
from dife_lightning.datasets.parsing.published_lists import species_of as species_of
from dife_lightning.datasets.parsing.table import Faults
from dife_lightning.errors import DataError
from dife_lightning.weights.user_paths import user_path

DATASET = "AnimalWeb"

#: Where the flat folder is in the archive.
_FOLDERS = ("", "animal_dataset_v1_clean_check", "animal_dataset_v1_c/animal_dataset_v1_clean_check")


class AnimalWeb(FaceFiles):
    """Faces of animals with 9 points; the group is the species.

    Args:
        root: the flat folder of ``<species>_<n>.jpg`` and ``.pts`` files, or the folder of the unpacked archive.
        species: only these, for example ``domesticdog``, or a list of them; by default all.
        names: list of faces, such as the published ``train_40img.txt``: a text file of picture names, one per line,
            with or without suffix. Only these faces are read, in its order. A relative path is searched for in
            ``root`` first; ``own/...`` is one in a folder of ``paths.yaml``.
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
        faces = list_faces(folder, group=species_of)
        known, wanted = sorted({face.group for face in faces}), as_list(species)
        for one in wanted:
            choose(self.name, "species", one, known)
        if names is not None:
            faces = _listed(faces, _find(base, names), faults)
        faces = [face for face in faces if not wanted or face.group in wanted]
        table = read_faces(folder, faces, 9, 0, faults)
        if boxes is not None or (base / BOXES).is_file():
            table = with_boxes(table, _find(base, boxes or BOXES), faults)
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
    path = user_path(file)
    return root / path if (root / path).is_file() or not path.is_file() else path


def _listed(faces: Sequence[PtsFace], path: Path, faults: Faults) -> list[PtsFace]:
    """Return the faces in a list, in its order."""
    known = {plain_name(face.image): face for face in faces}
    listed = read_list(path, faults)
    faults.add_all(
        (f"{path}, row {row}", f"no points for '{name}'; expected a .pts file of that name")
        for plain, (name, row) in listed.items()
        if plain not in known
    )
    return [known[plain] for plain in listed if plain in known]
