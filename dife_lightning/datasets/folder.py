"""A plain folder of pictures and a CSV file: your own data."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dife_lightning.datasets.parsing.files import FaceFiles, as_list, choose, root_folder
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults, check_count
from dife_lightning.datasets.parsing.text import CsvFile, parse_numbers, read_csv
from dife_lightning.errors import DataError, did_you_mean
from dife_lightning.faces.schemes import SCHEMES

DATASET = "Folder"

_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
_NUMBERED = re.compile(r"([xy])(\d+)")
_NAMED = re.compile(r"(.+)_([xy])")


class Folder(FaceFiles):
    """Pictures in a folder and their points in a CSV file, one row a face.

    Columns: ``image`` (path from ``root``), then either ``x0, y0, x1, y1, ...`` in the scheme's order or ``<point>_x,
    <point>_y`` with the scheme's names in any order. Two empty cells mean that a point is not labelled. Optional:
    ``name`` (by default the image; required if a picture has several faces), ``group``, and ``box_x0, box_y0, box_x1,
    box_y1``. Other columns are ignored.

    Args:
        root: folder that the CSV file and the pictures are in.
        scheme: name of the landmark scheme of the points, for example ``animalweb-9``. If it is built in, the number
            and the names of the points are checked.
        file: the CSV file.
        group: only faces of this group, or of these.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "folder"

    def __init__(
        self,
        root: str | Path,
        scheme: str,
        file: str | Path = "points.csv",
        group: str | Sequence[str] | None = None,
        skip_broken: bool = False,
    ) -> None:
        self.scheme = scheme
        folder, faults = root_folder(root), Faults(skip_broken)
        table = _read(folder, folder / file, scheme, faults)
        wanted, groups = [str(one) for one in as_list(group)], table.groups or []  # numbers, where names are numbers
        for one in wanted:
            choose(self.name, "group", one, sorted(set(groups)))
        if wanted:
            table = table.where([one in wanted for one in groups])
        super().__init__(table, faults, {"file": str(file), "scheme": scheme, "group": wanted})


def _read(root: Path, path: Path, scheme: str, faults: Faults) -> FaceTable:
    content = read_csv(path, ["image"])
    places = _point_columns(path, content.columns, scheme)
    columns: dict[str, Any] = defaultdict(list)
    for number, cells in content.rows:
        with faults.at(f"{path}, row {number}"):
            for name, value in _face(content, cells, places).items():
                columns[name].append(value)
            columns["keys"].append(number)
    needed = {name: columns[name] for name in ("keys", "images", "points")}
    return FaceTable(path, folder=root, count=len(places), **needed | columns)


def _point_columns(path: Path, columns: Sequence[str], scheme: str) -> list[tuple[int, int]]:
    """Return the columns of x and of y of each point, in the scheme's order."""
    numbers = {int(match[2]) for match in map(_NUMBERED.fullmatch, columns) if match}
    if numbers:
        # The loop below reports the column of a missing number.
        pairs = [(f"x{k}", f"y{k}") for k in range(min(1 + max(numbers), 1 + len(numbers)))]
    else:
        named = [match[1] for match in map(_NAMED.fullmatch, columns) if match]
        order = _in_scheme_order(path, list(dict.fromkeys(named)), scheme)
        pairs = [(f"{name}_x", f"{name}_y") for name in order]
    if not pairs:
        raise DataError(f"{path}, row 1: no points; expected columns x0, y0, ... or <point>_x, <point>_y.")
    for column in (column for pair in pairs for column in pair):
        if column not in columns:
            raise DataError(f"{path}, row 1: no column '{column}'; expected x and y of each point.")
    check_count(f"{path}, row 1:", scheme, len(pairs))
    return [(columns.index(x), columns.index(y)) for x, y in pairs]


def _in_scheme_order(path: Path, names: list[str], scheme: str) -> list[str]:
    if scheme not in SCHEMES:
        return names
    landmarks = SCHEMES[scheme].landmarks
    for name in names:
        if name not in landmarks:
            raise DataError(f"{path}, row 1: scheme '{scheme}' has no point '{name}'. {did_you_mean(name, landmarks)}")
    return list(landmarks)


def _face(content: CsvFile, cells: Sequence[str], places: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the values of one row by column of a FaceTable; Fault says what is wrong with it."""
    if len(cells) != len(content.columns):
        raise Fault(f"{len(cells)} cells, expected {len(content.columns)} as in row 1")
    by_name = dict(zip(content.columns, cells, strict=True))
    if not by_name["image"]:
        raise Fault("no image, expected a path from the root folder")
    image = by_name["image"].replace("\\", "/")
    points = [_point(content.columns[x], cells[x], cells[y]) for x, y in places]
    return {
        "images": image,
        "names": by_name.get("name") or image,
        "groups": by_name.get("group", ""),
        "points": [point or (0.0, 0.0) for point in points],
        "visible": [point is not None for point in points],
        "boxes": _box([by_name.get(name, "") for name in _BOX]),
    }


def _point(column: str, x: str, y: str) -> tuple[float, float] | None:
    """Return a point, or None where both cells are empty."""
    if not x and not y:
        return None
    try:
        first, second = parse_numbers([x, y], 2)
    except Fault as fault:
        raise Fault(f"column {column} and its partner: {fault}; leave both empty if there is no such point") from None
    return first, second


def _box(cells: Sequence[str]) -> list[float]:
    if not any(cells):
        return [np.nan] * 4
    try:
        return parse_numbers(cells, 4)
    except Fault as fault:
        raise Fault(f"box: {fault}") from None
