"""COCO keypoint files as tools write them: ids as text, nested or missing key points, one annotation a point."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.text import read_json
from dife_lightning.errors import DataError
from dife_lightning.utils.notes import many

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Category:
    """A category: its name, and the names of its points; empty if the file does not name them."""

    name: str
    keypoints: tuple[str, ...]


@dataclass(frozen=True)
class CocoFile:
    """Content of a COCO file. Ids are text, since some tools write the same id as number and as text.

    Attributes:
        path: of the file.
        images: entries by id.
        annotations: entries in the file's order.
        categories: by id.
    """

    path: Path
    images: Mapping[str, Entry]
    annotations: Sequence[Entry]
    categories: Mapping[str, Category]

    def category(self, entry: Entry) -> Category:
        """Return the category of an annotation, the only one if it states none; else one without name and points."""
        if entry.get("category_id") is None and len(self.categories) == 1:
            return next(iter(self.categories.values()))
        return self.categories.get(id_of(entry.get("category_id")) or "", Category("", ()))


def read_coco(path: Path, faults: Faults, truth: Path | None = None) -> CocoFile:
    """Read a COCO file; DataError if there is none, or it has no lists of images and annotations.

    Where each annotation is one point and its category the point's name, those of a picture become one face. A results
    file, a list of predictions, names no pictures: ``truth`` is the file of the annotations that it belongs to.
    """
    content = read_json(path, faults.say)
    results = isinstance(content, list) and bool(content) and _are(content, dict) and "keypoints" in content[0]
    if results and truth is None:
        raise DataError(f"{path} is a results file (a list of predictions) and names no pictures; expected the file of "
                        "the annotations, with lists 'images' and 'annotations', or that file as --truth.")  # fmt: skip
    if truth is not None and not results:
        raise DataError(f"{path} is no results file (a list of image_id and keypoints): leave out truth.")
    if truth is not None:
        content = _with_pictures(content, read_json(truth, faults.say))
    content = content if isinstance(content, dict) else {}
    for key in ("images", "annotations"):
        if not _are(content.get(key), dict):
            raise DataError(f"{path} has no list '{key}'; expected a COCO keypoint file.")
    images = {id_of(entry.get("id")) or "": entry for entry in content["images"]}
    images.pop("", None)
    if len(images) != len(content["images"]):
        raise DataError(f"{path}: {len(content['images'])} images with {len(images)} different ids; expected one each.")
    found = CocoFile(path, images, content["annotations"], _categories(content.get("categories")))
    _check_has_points(found)
    return _joined(found, faults)


def _with_pictures(results: Sequence[Entry], truth: Any) -> dict[str, Any]:
    """Return a results file as a file of annotations, with the pictures and categories of ``truth``.

    The flags v are set to 2, since those of results have no meaning in COCO.
    """
    listed = truth if isinstance(truth, dict) else {}
    names = {key: len(category.keypoints) for key, category in _categories(listed.get("categories")).items()}
    found = []
    for number, entry in enumerate(results, 1):
        values = entry.get("keypoints")
        try:
            values = list(flat(values))
            if len(values) % 3 == 0 and len(values) != 2 * names.get(id_of(entry.get("category_id")) or "", 0):
                values[2::3] = [2] * (len(values) // 3)
        except Fault:
            pass  # reported with its annotation
        found.append({**entry, "id": number, "keypoints": values})
    return {"images": listed.get("images"), "categories": listed.get("categories"), "annotations": found}


def id_of(value: Any) -> str | None:
    """Return an id as text, None if it is none: 7, 7.0 and "7" are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, int | str) else None


def _categories(listed: Any) -> dict[str, Category]:
    found = {}
    for entry in listed if isinstance(listed, list) else ():
        key = id_of(entry.get("id")) if isinstance(entry, dict) else None
        if key is not None:
            names = entry.get("keypoints")
            found[key] = Category(str(entry.get("name", key)), tuple(names) if _are(names, str) else ())
    return found


def _check_has_points(coco: CocoFile) -> None:
    """Raise DataError if not one annotation has key points: the file was exported in another form."""
    if coco.annotations and not any("keypoints" in entry for entry in coco.annotations):
        keys = ", ".join(key for key in ("bbox", "segmentation") if any(entry.get(key) for entry in coco.annotations))
        raise DataError(
            f"{coco.path}: none of its {len(coco.annotations)} annotations has 'keypoints' (they have {keys or 'none'})"
            "; export the points as well, in CVAT as 'COCO Keypoints 1.0' or 'CVAT for images'."
        )


def flat(keypoints: Any) -> list[Any]:
    """Return key points as one list; nested ones ``[[x, y, v], ...]`` or ``[[x, y], ...]`` become x, y, v.

    ``null`` and an empty list give an empty one; a ``null`` among the points is a point that is not labelled. Fault for
    something else.
    """
    if not keypoints:
        return []
    if not isinstance(keypoints, list):
        raise Fault(f"keypoints is a {type(keypoints).__name__}, expected a list of numbers")
    if not any(isinstance(point, list) for point in keypoints):
        return keypoints
    found: list[Any] = []
    for point in keypoints:
        if point is not None and (not isinstance(point, list) or len(point) not in (2, 3)):
            raise Fault(f"keypoints: {point} found among points, expected [x, y, v]")
        found += [None] * 3 if point is None else [*point, 2][:3]
    return found


def triples(keypoints: Any, count: int) -> NDArray[np.float64]:
    """Return key points as (count, 3): x, y, v; v is 2 where the file has only x and y, and 0 for ``null``.

    Fault for another number of them, or for what is no number.
    """
    values = flat(keypoints)
    if not values:
        return np.zeros((count, 3))
    width = 2 if len(values) == 2 * count else 3
    if len(values) != width * count or not _are(values, int | float | None):
        raise Fault(f"keypoints: {len(values)} values, expected {3 * count} numbers (x, y, v of {count} points)")
    found = np.full((count, 3), 2.0)
    try:
        found[:, :width] = np.array([np.nan if v is None else v for v in values], np.float64).reshape(count, width)
    except OverflowError:
        raise Fault("keypoints: a number without end, expected pixels") from None
    absent = np.array([None in values[width * k : width * k + 2] for k in range(count)], bool)
    found[absent] = 0
    for point, flag in enumerate(found[:, 2].tolist()):
        if not math.isfinite(flag):
            raise Fault(f"visibility of point {point} is {flag}, expected 0, 1 or 2")
    return found


def check_entry(entry: Entry, coco: CocoFile) -> None:
    """Raise Fault for an annotation without id or picture, or with a box of another form."""
    for key in ("id", "image_id"):
        if key not in entry:
            raise Fault(f"no '{key}', expected id, image_id and keypoints")
        if id_of(entry[key]) is None:
            raise Fault(f"{key} is a {type(entry[key]).__name__}, expected a number")
    image, box = id_of(entry["image_id"]), entry.get("bbox")
    if not coco.images.get(image or "", {}).get("file_name"):
        raise Fault(f"image_id {image} is no picture of the file; expected an entry of 'images' with file_name")
    if box and (not _are(box, int | float) or len(box) != 4 or not np.isfinite(box).all()):
        raise Fault(f"bbox is {box}, expected x, y, width, height")


def _joined(coco: CocoFile, faults: Faults) -> CocoFile:
    """Return a file of one face a picture, if each annotation is a single point that its category names."""
    points = [entry for entry in coco.annotations if entry.get("keypoints")]
    used = list(dict.fromkeys(id_of(entry.get("category_id")) or "" for entry in points))
    kinds = [coco.categories.get(key, Category("", ())) for key in used]
    single = all(isinstance(e["keypoints"], list) and len(e["keypoints"]) in (1, 3) and _is_one(e) for e in points)
    if len(used) < 2 or not single or any(len(kind.keypoints) > 1 for kind in kinds):
        return coco
    order = [key for key in coco.categories if key in used]
    names = [(coco.categories[key].keypoints or (coco.categories[key].name,))[0] for key in order]
    pictures = [id_of(entry.get("image_id")) for entry in points]
    if len(set(names)) < len(used) or len(set(pictures)) == len(pictures):
        return coco  # the categories are kinds of animals, or no picture has two points
    faces: dict[str | None, dict[str, Any]] = {}
    for entry in points:
        with faults.at(f"{coco.path}, annotation {entry.get('id')}"):
            check_entry(entry, coco)
            place, image = order.index(id_of(entry.get("category_id")) or ""), id_of(entry["image_id"])
            face = faces.setdefault(image, {**entry, "category_id": "", "bbox": None, "keypoints": [None] * len(order)})
            if face["keypoints"][place] is not None:
                raise Fault(f"point '{names[place]}' is there twice in one picture, expected one face a picture")
            face["keypoints"][place] = triples(entry["keypoints"], 1)[0].tolist()
    faults.say(f"each annotation of {coco.path.name} is one point: {many(len(points), 'annotation')} became "
               f"{many(len(faces), 'face')}, one a picture")  # fmt: skip
    return replace(coco, annotations=list(faces.values()), categories={"": Category("", tuple(names))})


def _is_one(entry: Entry) -> bool:
    try:
        return len(flat(entry["keypoints"])) == 3
    except Fault:
        return False


def common_length(entries: Sequence[Entry]) -> int:
    """Return the number of values that most annotations with key points have; 0 if none has."""
    lengths: Counter[int] = Counter()
    for entry in entries:
        try:
            lengths[len(flat(entry.get("keypoints")))] += 1
        except Fault:
            continue  # reported with its annotation
    lengths.pop(0, None)
    return lengths.most_common(1)[0][0] if lengths else 0


def _are(values: Any, kind: type | UnionType) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)
