"""DeepLabCut: the CSV files of labelled pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dife_lightning.datasets.parsing.csv_files import read_rows
from dife_lightning.datasets.parsing.files import FaceFiles, only_file, root_folder
from dife_lightning.datasets.parsing.labels import LabelledFace, Labels, below, labelled_table
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.turned import PointsOf
from dife_lightning.errors import DataError

DATASET = "DeepLabCut"

#: Where a project keeps its labels, below the root.
_PLACES = ("CollectedData_*.csv", "labeled-data/*/CollectedData_*.csv")


class DeepLabCut(FaceFiles):
    """Pictures labelled in DeepLabCut, one animal or several; the scheme is the file's body parts.

    A face's name is its picture, and ``#`` and the individual where a picture has several.

    Args:
        root: folder of the project (``config.yaml``, ``labeled-data``), or of one ``CollectedData_*.csv``.
        file: a CSV file; by default all ``CollectedData_*.csv`` of the root and of ``labeled-data/*``.
        scheme: landmark scheme, by name or as a YAML file; by default the file's own names.
        skip_broken: skip faces that cannot be used; see ``left_out``.
        keep_zeros: keep points at exactly (0, 0) or (-1, -1), which otherwise count as not labelled.
        points_of: which picture the points are of, where its EXIF header turns it: ``shown`` (as viewers show it, the
            default) or ``stored``.
    """

    name = "deeplabcut"

    def __init__(
        self,
        root: str | Path,
        file: str = "",
        scheme: GivenScheme = None,
        skip_broken: bool = False,
        keep_zeros: bool = False,
        points_of: PointsOf = "auto",
    ) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        paths = [folder / file] if file else sorted(path for place in _PLACES for path in folder.glob(place))
        if not paths:
            paths = [only_file(folder, "*.csv", f"{_PLACES[0]} of DeepLabCut, there or in labeled-data")]
        for path in paths:
            _read(path, folder, labels, faults)
        self.scheme, table = labelled_table(labels, folder, scheme, faults, keep_zeros=keep_zeros)
        super().__init__(table, faults, {"file": file, "scheme": str(scheme or "")}, points_of)


def _read(path: Path, root: Path, labels: Labels, faults: Faults) -> None:
    rows = read_rows(path, faults.say)
    header = {row[0]: row for _, row in rows[:4]}
    if "bodyparts" not in header or "coords" not in header:
        raise DataError(f"{path}: no header of DeepLabCut; expected rows that start with scorer, bodyparts and coords.")
    coords, parts = header["coords"], header["bodyparts"]
    xs = [k for k, text in enumerate(coords) if text == "x"]  # from 1 on, or from 3 in newer files
    people = header.get("individuals", [""] * len(coords))
    if (
        not xs
        or not len(coords) == len(parts) == len(people)
        or [coords[k + 1 : k + 2] for k in xs] != [["y"]] * len(xs)
    ):
        raise DataError(f"{path}: the row 'coords' is {','.join(coords)[:60]}, expected x and y of each body part.")
    columns = Counter((people[k], parts[k]) for k in xs)
    twice = next((part for (_, part), count in columns.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path}: body part '{twice}' is there twice (several scorers?), expected once; delete one.")
    labels.names = list(dict.fromkeys([*labels.names, *(parts[k] for k in xs)]))
    seen = {face.image: face.source for face in labels.faces}
    start = 1 + [row for _, row in rows].index(coords)
    for number, row in rows[start:]:
        if "likelihood" in coords:
            labels.notes["predictions (with a likelihood) taken as labels, unlikely ones too, pictures"] += 1
        with faults.at(f"{root}/{below(path, root)}, row {number}"):
            if len(row) != len(coords):
                raise Fault(f"{len(row)} cells, expected {len(coords)} as in the row 'coords'")
            source = f"{below(path, root)}, row {number}"
            faces = _faces(row, xs, people, parts, source)
            if faces and (faces[0].image in seen):
                raise Fault(
                    f"picture '{faces[0].image}' is labelled twice (first: {seen[faces[0].image]}), expected once"
                )
            seen |= {face.image: source for face in faces}
            labels.faces += faces


def _faces(
    row: Sequence[str], xs: Sequence[int], people: Sequence[str], parts: Sequence[str], source: str
) -> list[LabelledFace]:
    """Return the individuals of a picture, also one without a point if it is the only one."""
    image = "/".join(cell for cell in row[: xs[0]] if cell)
    if image.isdigit():
        raise Fault(f"'{image}' is the number of a video's frame, expected the path of a picture (CollectedData_*.csv)")
    faces: dict[str, LabelledFace] = {}
    for k in xs:
        face = faces.setdefault(people[k], LabelledFace(image, {}, source, instance=people[k]))
        point = _point(parts[k], row[k], row[k + 1])
        if point is not None:
            face.points[parts[k]] = point
    return [face for face in faces.values() if face.points or len(faces) == 1]


def _point(name: str, x: str, y: str) -> tuple[float, float] | None:
    """Return a point, or None where both cells are empty or say that there is no number."""
    values = []
    for cell in (x, y):
        try:
            values.append(float(cell.replace(",", ".") or "nan"))
        except ValueError:
            raise Fault(f"body part '{name}': '{cell}' found, expected a number or an empty cell") from None
    if math.isnan(values[0]) and math.isnan(values[1]):
        return None
    if not all(map(math.isfinite, values)):
        raise Fault(f"body part '{name}' is ({x}, {y}), expected two numbers or two empty cells")
    return values[0], values[1]
