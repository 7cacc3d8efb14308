"""Landmarks of a page as files that readers of annotations take: CSV and COCO."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dife_lightning.callbacks._predictions import SEEN, UNSEEN
from dife_lightning.datasets.writing.places import FACE
from dife_lightning.errors import ConfigError


@dataclass(frozen=True)
class PageFace:
    """A photo with landmarks: its name and (width, height), points as the page has them, and which of these match."""

    number: int
    image: str
    size: Sequence[int]
    group: str
    points: Sequence[tuple[float, float] | None]
    matched: Sequence[bool]


def landmark_file(
    form: str,
    names: Any,
    faces: Any,
    photos: Sequence[str],
    sizes: Mapping[int, Sequence[int]],
    right: Any = (),
    matched: Any = None,
) -> tuple[bytes, str, str]:
    """Return landmarks as a file: its content, media type and name.

    Args:
        form: ``csv`` or ``coco``.
        names: of the points.
        faces: number of a photo -> its points, [x, y] or None.
        photos: names of all photos.
        sizes: number of a photo -> its width and height; other photos are left out.
        right: numbers of the photos that a person has looked at; the group of the others is ``found``.
        matched: number of a photo -> for each point whether it is a match, or was placed by a person; all, by default.

    Raises:
        ConfigError: another form, two points of one name, or faces that are not of that form.
    """
    try:
        named = [_name(name) for name in names]
        numbers = {int(number) for number in right}
        flags = {int(number): [bool(flag) for flag in row] for number, row in (matched or {}).items()}
        found = []
        for number, points in ((int(key), points) for key, points in faces.items()):
            places = [None if p is None else (float(p[0]), float(p[1])) for p in points]
            sure = flags.get(number, [True] * len(named))
            if not len(places) == len(sure) == len(named):
                raise ValueError
            if number in sizes:
                group = "right" if number in numbers else "found"
                found.append(PageFace(number, photos[number], sizes[number], group, places, sure))
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        raise ConfigError("landmarks: expected names, and for each photo a point [x, y] or null of each name") from None
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise ConfigError(f"landmarks: '{twice}' is the name of two points; rename one of them")
    if form == "csv":
        return _csv(named, found).encode(), "text/csv", "landmarks.csv"
    if form == "coco":
        return json.dumps(_coco(named, found), indent=1).encode(), "application/json", "landmarks.json"
    raise ConfigError(f"form '{form}': expected csv or coco")


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > 100:
        raise ValueError
    return name


def _csv(names: Sequence[str], faces: Sequence[PageFace]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "group", *(f"{name}_{what}" for name in names for what in "xyv")))
    for face in faces:
        cells: list[Any] = []
        for point, sure in zip(face.points, face.matched, strict=True):
            cells += ["", "", ""] if point is None else [f"{point[0]:.2f}", f"{point[1]:.2f}", int(sure)]
        writer.writerow((face.image, face.group, *cells))
    return text.getvalue()


def _coco(names: Sequence[str], faces: Sequence[PageFace]) -> dict[str, Any]:
    images, annotations = [], []
    for face in faces:
        width, height = face.size
        there = [point for point in face.points if point is not None]
        images.append({"id": face.number + 1, "file_name": face.image, "width": width, "height": height})
        left, top = (min((point[k] for point in there), default=0) for k in (0, 1))
        right, bottom = (max((point[k] for point in there), default=0) for k in (0, 1))
        flat: list[Any] = []
        for point, sure in zip(face.points, face.matched, strict=True):
            flat += [0, 0, 0] if point is None else [*point, SEEN if sure else UNSEEN]
        annotations.append(
            {
                "id": face.number + 1, "image_id": face.number + 1, "category_id": 1, "iscrowd": 0, "keypoints": flat,
                "num_keypoints": len(there), "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top), "group": face.group,
            }
        )  # fmt: skip
    category = {"id": 1, "name": FACE, "supercategory": FACE, "keypoints": list(names), "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [category]}
