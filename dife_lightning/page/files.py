"""Landmarks of a page as files that readers of annotations take: CSV and COCO."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dife_lightning.datasets.writing.places import FACE
from dife_lightning.errors import ConfigError

#: A point as the page has it: [x, y] in pixels of the photo, or None.
Point = Sequence[float] | None


def landmark_file(
    form: str, names: Any, faces: Any, photos: Sequence[str], sizes: Mapping[int, Sequence[int]], right: Any = ()
) -> tuple[bytes, str, str]:
    """Return landmarks as a file: its content, media type and name.

    Args:
        form: ``csv`` or ``coco``.
        names: of the points.
        faces: number of a photo -> its points, [x, y] or None.
        photos: names of all photos.
        sizes: number of a photo -> its width and height; other photos are left out.
        right: numbers of the photos that a person has looked at; the group of the others is ``found``.

    Raises:
        ConfigError: another form, or faces that are not of that form.
    """
    try:
        named = [str(name) for name in names]
        found = {int(number): [None if p is None else (float(p[0]), float(p[1])) for p in points]
                 for number, points in faces.items() if int(number) in sizes}  # fmt: skip
        group = {number: "right" if number in {int(one) for one in right} else "found" for number in found}
        if any(len(points) != len(named) for points in found.values()):
            raise ValueError
    except (TypeError, ValueError, IndexError, AttributeError):
        raise ConfigError("landmarks: expected names, and for each photo a point [x, y] or null of each name") from None
    if form == "csv":
        return _csv(named, found, photos, group).encode(), "text/csv", "landmarks.csv"
    if form == "coco":
        return (
            json.dumps(_coco(named, found, photos, sizes, group), indent=1).encode(),
            "application/json",
            "landmarks.json",
        )
    raise ConfigError(f"form '{form}': expected csv or coco")


def _csv(
    names: Sequence[str], faces: Mapping[int, Sequence[Point]], photos: Sequence[str], group: Mapping[int, str]
) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "group", *(f"{name}_{axis}" for name in names for axis in "xy")))
    for number, points in faces.items():
        cells = [cell for point in points for cell in (("", "") if point is None else (f"{v:.2f}" for v in point))]
        writer.writerow((photos[number], group[number], *cells))
    return text.getvalue()


def _coco(
    names: Sequence[str],
    faces: Mapping[int, Sequence[Point]],
    photos: Sequence[str],
    sizes: Mapping[int, Sequence[int]],
    group: Mapping[int, str],
) -> dict[str, Any]:
    images, annotations = [], []
    for number, points in faces.items():
        width, height = sizes[number]
        seen = [point for point in points if point is not None]
        images.append({"id": number + 1, "file_name": photos[number], "width": width, "height": height})
        left, top = (min((point[k] for point in seen), default=0) for k in (0, 1))
        right, bottom = (max((point[k] for point in seen), default=0) for k in (0, 1))
        flat = [value for point in points for value in ((0, 0, 0) if point is None else (*point, 2))]
        annotations.append(
            {
                "id": number + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0, "keypoints": flat,
                "num_keypoints": len(seen), "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top), "group": group[number],
            }
        )  # fmt: skip
    category = {"id": 1, "name": FACE, "supercategory": FACE, "keypoints": list(names), "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [category]}
