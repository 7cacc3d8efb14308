"""WFLW: Wider Facial Landmarks in the Wild, 98 points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from dife_lightning.datasets.parsing.files import FaceFiles, choose, root_folder
from dife_lightning.datasets.parsing.table import FaceTable, Faults
from dife_lightning.datasets.parsing.text import Rows, parse_rows, read_lines

DATASET = "WFLW"

LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test"
#: In the order of the columns, named as the official test subsets.
ATTRIBUTES = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")
_POINTS = 98
#: Numbers in a line: coordinates, box and attributes.
_NUMBERS = 2 * _POINTS + 4 + len(ATTRIBUTES)


class WFLW(FaceFiles):
    """Faces of people in crowds, with 98 points, a box and six attributes each.

    A picture may have several faces. The name of a face is the path of its picture, ``#`` and the number of its row
    among the rows of that picture, from 0; rows that are skipped as broken are counted. The group is the names of its
    attributes, joined by ``+``.

    Args:
        root: folder with ``WFLW_images`` and ``WFLW_annotations``.
        split: ``train`` or ``test``.
        attribute: only faces that have this attribute: ``largepose``, ``expression``, ``illumination``, ``makeup``,
            ``occlusion`` or ``blur``.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "wflw"
    scheme = "wflw-98"

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "test"] = "test",
        attribute: str | None = None,
        skip_broken: bool = False,
    ) -> None:
        choose(self.name, "split", split, ("train", "test"))
        if attribute is not None:
            choose(self.name, "attribute", attribute, ATTRIBUTES)
        folder, faults = root_folder(root), Faults(skip_broken)
        table = _read(folder, folder / LISTS / f"list_98pt_rect_attr_{split}.txt", faults)
        if attribute is not None:
            table = table.where([attribute in group.split("+") for group in table.groups or []])
        super().__init__(table, faults, {"split": split, "attribute": attribute})


def _read(root: Path, path: Path, faults: Faults) -> FaceTable:
    lines = read_lines(path)
    rows = parse_rows(lines.texts, _NUMBERS, False, lambda i: f"{path}, row {lines.numbers[i]}", faults)
    points, boxes, attributes = np.split(rows.values, (2 * _POINTS, 2 * _POINTS + 4), axis=1)
    return FaceTable(
        path,
        [lines.numbers[i] for i in rows.kept],
        root / "WFLW_images",
        rows.names,
        points,
        count=_POINTS,
        names=_numbered(lines.texts, rows),
        boxes=boxes,
        groups=["+".join(name for name, has in zip(ATTRIBUTES, row, strict=True) if has) for row in attributes > 0],
    )


def _numbered(lines: Sequence[str], rows: Rows) -> list[str]:
    """Name the faces of each picture by number; broken lines count, so that skipping them changes no other name."""
    images = dict(zip(rows.kept, rows.names, strict=True))
    counts: Counter[str] = Counter()
    names = []
    for row, line in enumerate(lines):
        image = images.get(row) or line.rsplit(None, 1)[-1]
        if row in images:
            names.append(f"{image}#{counts[image]}")
        counts[image] += 1
    return names
