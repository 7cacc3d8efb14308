"""COCO keypoint files: pictures, categories and annotations in one JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.faults import Faults
from dife_lightning.datasets.parsing.points import check_count, known_count
from dife_lightning.datasets.parsing.table import FaceTable
from dife_lightning.datasets.parsing.text import read_text
from dife_lightning.errors import ConfigError, DataError, did_you_mean

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """A COCO file as it stands.

    Attributes:
        path: of the file.
        images: entries by id.
        annotations: entries in the file's order.
        categories: names by id.
        keypoints: names of the points, of the first category that names them; empty if none does.
    """

    path: Path
    images: Mapping[int, Entry]
    annotations: Sequence[Entry]
    categories: Mapping[int, str]
    keypoints: Sequence[str]


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file.

    Raises:
        DataError: there is no such file, or it has no lists of images and annotations.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, row {error.lineno}: not JSON ({error.msg}).") from None
    content = content if isinstance(content, dict) else {}
    for key in ("images", "annotations"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{path} has no list '{key}'; expected a COCO keypoint file.")
    images = {entry["id"]: entry for entry in content["images"] if _is_id(entry.get("id"))}
    if len(images) != len(content["images"]):
        raise DataError(f"{path}: {len(content['images'])} images with {len(images)} different ids; expected one each.")
    categories = [e for e in content.get("categories") or [] if isinstance(e, dict) and _is_id(e.get("id"))]
    return CocoFile(
        path,
        images,
        content["annotations"],
        {entry["id"]: str(entry.get("name", entry["id"])) for entry in categories},
        next((entry["keypoints"] for entry in categories if _texts(entry.get("keypoints"))), []),
    )


def choose_faces(
    coco: CocoFile,
    folder: Path,
    reader: tuple[str, str],
    faults: Faults,
    categories: Sequence[str | int],
    needed: Sequence[str | int],
) -> FaceTable:
    """Return the faces of some categories that show all needed points.

    Args:
        coco: the file.
        folder: in which its pictures are.
        reader: name of the data set, for messages, and scheme of its points.
        faults: is told of annotations of another form.
        categories: by name or id; none for all.
        needed: points that must be labelled, by name or number.

    Raises:
        ConfigError: there is no such category or point.
        DataError: the file's number of points is not the scheme's.
    """
    name, scheme = reader
    table = coco_table(coco, folder, scheme, faults, category_ids(coco, name, categories))
    points = point_numbers(coco, name, needed, table.points.shape[1])
    return table.where(np.all(table.visible[:, points], axis=-1))


def category_ids(coco: CocoFile, dataset: str, wanted: Iterable[str | int]) -> set[int]:
    """Return the ids of categories that are given by name or by id.

    Raises:
        ConfigError: the file has no such category.
    """
    by_name = {name.lower(): number for number, name in coco.categories.items()}
    ids = set()
    for one in wanted:
        number = by_name.get(one.lower(), -1) if isinstance(one, str) else one
        if number not in coco.categories:
            known = [f"{name} ({number})" for number, name in coco.categories.items()]
            raise ConfigError(f"{dataset}: unknown species or category '{one}'. {did_you_mean(str(one), known)}")
        ids.add(number)
    return ids


def point_numbers(coco: CocoFile, dataset: str, needed: Iterable[str | int], count: int) -> list[int]:
    """Return the numbers of points that are given by name or by number.

    Raises:
        ConfigError: there is no such point.
    """
    numbers = []
    names = {name: place for place, name in enumerate(coco.keypoints)}
    for one in needed:
        place = names.get(one, -1) if isinstance(one, str) else one
        if not 0 <= place < count:
            raise ConfigError(f"{dataset}: unknown point '{one}' (0 to {count - 1}). "
                              f"{did_you_mean(str(one), coco.keypoints)}")  # fmt: skip
        numbers.append(place)
    return numbers


def coco_table(
    coco: CocoFile,
    folder: Path,
    scheme: str,
    faults: Faults,
    categories: set[int] | None = None,
) -> FaceTable:
    """Turn annotations into faces.

    Args:
        coco: the file.
        folder: in which its pictures are.
        scheme: of its points.
        faults: is told of annotations of another form.
        categories: only these; by default all.

    Returns:
        Faces; v > 0 means labelled, whether hidden in the picture or not.

    Raises:
        DataError: the file's number of points is not the scheme's.
    """
    chosen = [entry for entry in coco.annotations if not categories or _category(entry) in categories]
    count = _count(coco, scheme)
    kept, values, boxes = [], [], []
    for place, entry in enumerate(chosen):
        reason = _fault_of(entry, coco, count)
        if reason is not None:
            faults.add(f"{coco.path}, annotation {entry.get('id', place)}", reason)
            continue
        kept.append(entry)
        values.append(entry["keypoints"])
        boxes.append(entry.get("bbox") or [np.nan] * 4)
    return _table(coco, folder, kept, np.array(values, np.float64).reshape(len(kept), count, 3), boxes)


def _table(
    coco: CocoFile,
    folder: Path,
    entries: Sequence[Entry],
    values: NDArray[np.float64],
    boxes: Sequence[Sequence[float]],
) -> FaceTable:
    pictures = [coco.images[entry["image_id"]] for entry in entries]
    keys = [entry["id"] for entry in entries]
    images = [str(picture["file_name"]).replace("\\", "/") for picture in pictures]
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    visible = values[..., 2] > 0
    return FaceTable(
        file=coco.path,
        label=", annotation ",
        keys=keys,
        folder=folder,
        images=images,
        names=[f"{image}#{key}" for image, key in zip(images, keys, strict=True)],
        points=np.where(visible[..., None], values[..., :2], 0).astype(np.float32),
        visible=visible,
        boxes=corners.astype(np.float32),
        groups=[coco.categories.get(_category(entry), "") for entry in entries],
        sizes=np.array([[_size(p, "width"), _size(p, "height")] for p in pictures], np.int64).reshape(-1, 2),
    )


def _count(coco: CocoFile, scheme: str) -> int:
    """Return how many points the annotations have: as many as most of them."""
    lengths = Counter(len(e["keypoints"]) // 3 for e in coco.annotations if isinstance(e.get("keypoints"), list))
    count = lengths.most_common(1)[0][0] if lengths else known_count(scheme) or 0
    check_count(coco.path, scheme, count)
    return count


def _category(entry: Entry) -> Any:
    number = entry.get("category_id")
    return number if _is_id(number) else None


def _size(picture: Entry, side: str) -> int:
    value = picture.get(side)
    return value if isinstance(value, int) else 0


def _fault_of(entry: Entry, coco: CocoFile, count: int) -> str | None:
    """Return what is wrong with an annotation, or None."""
    for key in ("id", "image_id", "keypoints"):
        if key not in entry:
            return f"no '{key}', expected id, image_id and keypoints"
    for key in ("id", "image_id"):
        if not _is_id(entry[key]):
            return f"{key} is a {type(entry[key]).__name__}, expected a number"
    picture = coco.images.get(entry["image_id"])
    if picture is None or not picture.get("file_name"):
        return f"image_id {entry['image_id']} is no picture of the file; expected an entry of 'images' with file_name"
    keypoints, box = entry["keypoints"], entry.get("bbox")
    if not _numbers(keypoints) or len(keypoints) != 3 * count:
        found = len(keypoints) if isinstance(keypoints, list) else type(keypoints).__name__
        return f"keypoints: {found} values, expected {3 * count} numbers (x, y, v of {count} points)"
    for point, flag in enumerate(keypoints[2::3]):
        if not math.isfinite(flag):
            return f"visibility of point {point} is {flag}, expected 0, 1 or 2"
    if box and (not _numbers(box) or len(box) != 4 or not np.isfinite(box).all()):
        return f"bbox is {box}, expected x, y, width, height"
    return None


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)


def _texts(values: Any) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(isinstance(value, str) for value in values)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)
