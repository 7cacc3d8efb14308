"""LabelMe: one JSON file beside each picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dife_lightning.datasets.parsing.files import FaceFiles, root_folder
from dife_lightning.datasets.parsing.labels import Labels, below, expecting, labelled_table
from dife_lightning.datasets.parsing.marks import Mark, MarkedBox, add_marked_faces, points_and_boxes
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.text import read_json
from dife_lightning.errors import MissingDataError

DATASET = "LabelMe"

_HOW = "give the points and the box of one face the same group id in LabelMe"


class LabelMe(FaceFiles):
    """Pictures labelled in LabelMe (or AnyLabeling) with points; the scheme is the points' labels.

    A rectangle is the box of the face; its label is the group. Other shapes are passed over and counted.

    Args:
        root: folder of the JSON files and the pictures; folders in it are read, too.
        scheme: landmark scheme, by name or as a YAML file; by default the labels themselves.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "labelme"

    def __init__(self, root: str | Path, scheme: GivenScheme = None, skip_broken: bool = False) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        paths = sorted(path for path in folder.rglob("*.json") if not path.name.startswith("."))
        if not paths:
            raise MissingDataError(f"no JSON file of LabelMe in {folder}; expected one beside each picture.")
        for path in paths:
            content = read_json(path, faults.say)
            if isinstance(content, dict) and isinstance(content.get("shapes"), list):
                with (
                    faults.at(f"{folder}/{below(path, folder)}"),
                    expecting("shapes, imagePath, imageWidth, imageHeight"),
                ):
                    _add(labels, content, below(path, folder))
            else:
                labels.notes["JSON files that are not of LabelMe passed over"] += 1
        self.scheme, table = labelled_table(labels, folder, scheme, faults)
        super().__init__(table, faults, {"scheme": str(scheme or "")})


def _add(labels: Labels, content: Mapping[str, Any], file: str) -> None:
    picture = str(content.get("imagePath") or f"{Path(file).stem}.jpg").replace("\\", "/")
    image = os.path.normpath(os.path.join(os.path.dirname(file), picture)).replace(os.sep, "/")
    size = int(content.get("imageWidth") or 0), int(content.get("imageHeight") or 0)
    marks, boxes, others = points_and_boxes(_shape(shape) for shape in content["shapes"])
    labels.notes["shapes that are neither points nor rectangles passed over"] += others
    labels.notes["pictures without points passed over"] += not marks
    add_marked_faces(labels, image, size, file, marks, boxes, _HOW)


def _shape(shape: Any) -> Mark | MarkedBox | None:
    try:
        kind, label, values = (
            shape.get("shape_type"),
            str(shape["label"]),
            [list(map(float, xy)) for xy in shape["points"]],
        )
        instance = "" if shape.get("group_id") is None else str(shape["group_id"])
        if kind == "point" or (kind is None and len(values) == 1):
            ((x, y),) = values
            return Mark(label, x, y, instance, bool((shape.get("flags") or {}).get("occluded")))
        if kind == "rectangle":
            xs, ys = zip(*values, strict=True)
            return MarkedBox((min(xs), min(ys), max(xs), max(ys)), label, instance)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Fault("a shape has another form, expected label, points [[x, y]] and shape_type") from None
    return None
