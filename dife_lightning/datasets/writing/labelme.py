"""LabelMe: one JSON file beside each picture."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import by_picture, category, number


def write_labelme(labels: Labels) -> dict[str, str]:
    """Return the text of each file. A face's points and box have one group id; the box's label is the group."""
    return {
        str(PurePosixPath(image).with_suffix(".json")): json.dumps(_content(image, faces), indent=2)
        for image, faces in by_picture(labels).items()
    }


def _content(image: str, faces: list[LabelledFace]) -> dict[str, Any]:
    width, height = faces[0].size
    shapes = [shape for k, face in enumerate(faces, 1) for shape in _shapes(face, k)]
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(image).name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(face: LabelledFace, group: int) -> list[dict[str, Any]]:
    found = [
        _shape(name, [(x, y)], "point", group, {"occluded": True} if name in face.occluded else {})
        for name, (x, y) in face.points.items()
    ]
    if face.box is not None:
        x0, y0, x1, y1 = face.box
        found.append(_shape(category(face), [(x0, y0), (x1, y1)], "rectangle", group, {}))
    return found


def _shape(
    label: str, points: list[tuple[float, float]], kind: str, group: int, flags: dict[str, bool]
) -> dict[str, Any]:
    numbers = [[number(x), number(y)] for x, y in points]
    return {"label": label, "points": numbers, "group_id": group, "shape_type": kind, "flags": flags}
