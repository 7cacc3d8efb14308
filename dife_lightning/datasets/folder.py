"""A plain folder of pictures and a CSV file: your own data."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.columns import Columns, find_columns, find_subject
from dife_lightning.datasets.parsing.csv_files import CsvFile, read_csv
from dife_lightning.datasets.parsing.files import FaceFiles, as_list, choose, root_folder
from dife_lightning.datasets.parsing.own_points import GivenScheme, in_order, settle_scheme, without_zeros
from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults
from dife_lightning.datasets.parsing.text import parse_numbers
from dife_lightning.datasets.parsing.turned import PointsOf
from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.faces.own_schemes import Left
from dife_lightning.faces.schemes import SCHEMES, Scheme
from dife_lightning.utils.notes import many, some

DATASET = "Folder"

#: What programs write for a value that is not there.
_MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "-", "--")
#: A number with a decimal comma.
_COMMA = re.compile(r"([+-]?\d*),(\d+)")
#: What people and their spreadsheets write for a point that is labelled (it may be hidden), and for one that is not.
_SEEN = (
    "true", "t", "yes", "y", "visible", "labelled", "labeled", "occluded", "hidden", "wahr", "ja", "vrai", "oui",
    "vero", "verdadero", "verdadeiro", "si", "sí", "sim", "waar"
)  # fmt: skip
_UNSEEN = (
    "false", "f", "no", "n", "missing", "absent", "unlabelled", "unlabeled", "not labelled", "not labeled", "falsch",
    "nein", "faux", "non", "falso", "não", "onwaar", "nee"
)  # fmt: skip


class Folder(FaceFiles):
    """Pictures in a folder and their points in a CSV file, one row a face.

    Columns: ``image`` (or ``filename``, ``file``, ``img``, ...: a path from ``root``), then either ``x0, y0, x1, y1,
    ...`` in the scheme's order, counted from 0 or 1, or ``<point>_x, <point>_y`` in any order. Two empty cells (or NaN,
    NA) mean that a point is not labelled, as does 0 or ``no`` in ``<point>_v`` (``v0``, ...). Optional: ``name`` (by
    default the image, with a number if it has several faces); ``group``; ``subject`` (or ``individual``, ``animal_id``,
    ...), the animal or person; and a box: ``box_x0, box_y0, box_x1, box_y1`` or ``box_x, box_y, box_w, box_h``. Other
    columns are ignored. The file may have commas, semicolons or tabs, and decimal commas.

    Args:
        root: folder that the CSV file and the pictures are in.
        scheme: landmark scheme of the points: a name such as ``animalweb-9``, or a YAML file (see
            ``faces.own_schemes``). By default the scheme is the file's own points, by their names.
        file: the CSV file.
        group: only faces of this group, or of these.
        skip_broken: skip faces that cannot be used; see ``left_out``.
        keep_zeros: keep points at exactly (0, 0) or (-1, -1), which otherwise count as not labelled.
        points_of: which picture the points are of, where its EXIF header turns it: ``shown`` (as viewers show it, the
            default) or ``stored`` (by a tool that ignores EXIF).
        left: whose left the file's own names mean: the ``viewer``'s (the default) or the ``subject``'s, the face's own.
        same_as: name of a point in the file -> the same point's name in other schemes: ``{left_ear: left_ear_base}``.
        subject: the column that states the animal or person, or the photo that several pictures are from; faces with
            the same one are never paired.
    """

    name = "folder"

    def __init__(
        self,
        root: str | Path,
        scheme: GivenScheme = None,
        file: str | Path = "points.csv",
        group: str | Sequence[str] | None = None,
        skip_broken: bool = False,
        keep_zeros: bool = False,
        points_of: PointsOf = "auto",
        left: Left | None = None,
        same_as: Mapping[str, str] | None = None,
        subject: str | None = None,
    ) -> None:
        folder, faults = root_folder(root), Faults(skip_broken)
        meaning = {key: value for key, value in (("left", left), ("same_as", same_as)) if value}
        known, table = _read(folder, folder / file, scheme, keep_zeros, faults, meaning, subject)
        self.scheme = known.name if known.name in SCHEMES else known
        wanted, groups = [str(one) for one in as_list(group)], table.groups or []  # numbers, where names are numbers
        for one in wanted:
            choose(self.name, "group", one, sorted(set(groups)))
        if wanted:
            table = table.where([one in wanted for one in groups])
        facts = {"file": str(file), "scheme": known.name, "group": wanted, **meaning}
        facts |= {"subject": subject} if subject else {}
        super().__init__(table, faults, facts, points_of)


def _read(
    root: Path,
    path: Path,
    given: GivenScheme,
    keep_zeros: bool,
    faults: Faults,
    meaning: Mapping[str, Any],
    subject: str | None,
) -> tuple[Scheme, FaceTable]:
    content = read_csv(path, say=faults.say)
    where = f"{path}, row 1"
    places = find_columns(where, content)
    content = _with_points_for_commas(path, content, places, faults)
    if places.first:
        faults.say(
            f"{path.name}: points are counted from {places.first}; x{places.first}, y{places.first} is the first"
        )
    if subject is not None and subject not in content.columns:
        raise ConfigError(f"{where}: no column '{subject}' for subjects. {did_you_mean(subject, content.columns)}")
    given_subject, subject = subject, subject or find_subject(content.columns)
    named = ("name", "group", (subject or "").lower())
    used = {places.image, *places.box, *places.seen, *(place for pair in places.points for place in pair)}
    others = [c for k, c in enumerate(content.columns) if c and k not in used and c.lower() not in named]
    if subject and subject.lower() != "subject" and not given_subject:
        faults.say(f"{path.name}: column '{subject}' states the subjects")
    if others:
        faults.say(f"{path.name}: {many(len(others), 'column')} not used: {some(others)}")
    scheme, order = settle_scheme(where, given, places.names, len(places.points), faults, meaning)
    columns: dict[str, Any] = defaultdict(list)
    for number, cells in content.rows:
        with faults.at(f"{path}, row {number}"):
            for name, value in _face(content, cells, places, subject).items():
                columns[name].append(value)
            columns["keys"].append(number)
    _number_faces(columns, path, faults)
    points, visible = _in_order(columns, len(places.points), order)
    columns |= {"points": points, "visible": without_zeros(points, visible, keep_zeros, faults)}
    needed = {name: columns[name] for name in ("keys", "images", "points")}
    return scheme, FaceTable(path, folder=root, count=len(order), search=True, **needed | columns)


def _with_points_for_commas(path: Path, content: CsvFile, places: Columns, faults: Faults) -> CsvFile:
    """Return the table with decimal points in the numbers of points and boxes."""
    numbers = {*places.box, *(place for pair in places.points for place in pair)}
    rows, count = [], 0
    for number, cells in content.rows:
        found = [_COMMA.fullmatch(cell) if k in numbers else None for k, cell in enumerate(cells)]
        count += sum(match is not None for match in found)
        rows.append((number, [f"{m[1]}.{m[2]}" if m else cell for m, cell in zip(found, cells, strict=True)]))
    if count:
        faults.say(f"{path.name}: {many(count, 'number')} with a decimal comma")
    return CsvFile(content.columns, rows)


def _in_order(
    columns: dict[str, Any], count: int, order: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return points (N, K, 2) and which are labelled (N, K), in the scheme's order."""
    points = in_order(np.array(columns["points"], np.float64).reshape(-1, count, 2), order, 1)
    return points, in_order(np.array(columns["visible"], bool).reshape(-1, count), order, 1)


def _number_faces(columns: dict[str, Any], path: Path, faults: Faults) -> None:
    """Give the faces of a picture with several, and without names of their own, numbers: ``a.jpg#1``."""
    names, images = columns["names"], columns["images"]
    total, count = Counter(name for name, image in zip(names, images, strict=True) if name == image), Counter[str]()
    for row, name in enumerate(names):
        if total[name] > 1 and name == images[row]:
            count[name] += 1
            names[row] = f"{name}#{count[name]}"
    if count:
        faults.say(f"{path.name}: {many(len(count), 'picture')} with several faces, numbered #1, #2, ... (or name them "
                   "in a column 'name')")  # fmt: skip


def _face(content: CsvFile, cells: Sequence[str], places: Columns, subject: str | None) -> dict[str, Any]:
    """Return the values of one row by column of a FaceTable; Fault says what is wrong with it.

    ``subject`` is the name of the column of the animal or person.
    """
    if len(cells) != len(content.columns):
        raise Fault(f"{len(cells)} cells, expected {len(content.columns)} as in row 1")
    by_name = {name.lower(): cell for name, cell in zip(content.columns, cells, strict=True)}
    image = cells[places.image].replace("\\", "/")
    if not image:
        raise Fault("no image, expected a path from the root folder")
    points = [_point(content.columns[x], cells[x], cells[y]) for x, y in places.points]
    seen = [place is None or _labelled(content.columns[place], cells[place]) for place in places.seen]
    return {
        "images": image,
        "names": by_name.get("name") or image,
        "groups": by_name.get("group", ""),
        "subjects": by_name[subject.lower()] if subject else "",
        "points": [point or (0.0, 0.0) for point in points],
        "visible": [point is not None and labelled for point, labelled in zip(points, seen, strict=True)],
        "boxes": _box([cells[place] for place in places.box], places.box_has_size),
    }


def _labelled(column: str, cell: str) -> bool:
    """Return whether a point is labelled, as the cell of its visibility says; an empty one says nothing against it."""
    word = cell.lower()
    if word in _MISSING or word in _SEEN or word in _UNSEEN:
        return word not in _UNSEEN
    number = {"-1": -1.0, "0": 0.0, "1": 1.0, "2": 2.0}.get(re.sub(r"[.,]0+$", "", cell))
    if number is None:
        raise Fault(f"column {column} is '{cell}', expected 0 (not labelled), 1 or 2 (labelled), or yes or no")
    return number > 0


def _point(column: str, x: str, y: str) -> tuple[float, float] | None:
    """Return a point, or None where both cells are empty."""
    if x.lower() in _MISSING and y.lower() in _MISSING:
        return None
    try:
        first, second = parse_numbers([x, y], 2)
    except Fault as fault:
        raise Fault(f"column {column} and its partner: {fault}; leave both empty if there is no such point") from None
    return first, second


def _box(cells: Sequence[str], has_size: bool) -> list[float]:
    if all(cell.lower() in _MISSING for cell in cells):
        return [np.nan] * 4
    try:
        x, y, right, bottom = parse_numbers(cells, 4)
    except Fault as fault:
        raise Fault(f"box: {fault}") from None
    return [x, y, x + right, y + bottom] if has_size else [x, y, right, bottom]
