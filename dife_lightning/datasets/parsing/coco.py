"""COCO keypoint files: pictures, categories and annotations in one JSON file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.table import FaceTable, Fault, Faults, check_count
from dife_lightning.datasets.parsing.text import read_text
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.schemes import SCHEMES

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """Content of a COCO file.

    Attributes:
        path: of the file.
        images: entries by id.
        annotations: entries in the file's order.
        categories: names by id.
        keypoints: names of the points, from the first category that has them; empty if none has.
    """

    path: Path
    images: Mapping[int, Entry]
    annotations: Sequence[Entry]
    categories: Mapping[int, str]
    keypoints: Sequence[str]


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file; DataError if there is none, or it has no lists of images and annotations."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, row {error.lineno}: not JSON ({error.msg}).") from None
    content = content if isinstance(content, dict) else {}
    for key in ("images", "annotations"):
        if not _are(content.get(key), dict):
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
        next((e["keypoints"] for e in categories if e.get("keypoints") and _are(e["keypoints"], str)), []),
    )


def choose_faces(
    coco: CocoFile,
    folder: Path,
    dataset: str,
    scheme: str,
    faults: Faults,
    categories: Iterable[str | int],
    needed: Iterable[str | int],
) -> FaceTable:
    """Return the faces of some categories in which all needed points are labelled.

    A point is visible if its flag v is above 0, whether it is hidden in the picture or not. ``categories`` are names or
    ids, none for all; ``needed`` are names or numbers of points; ``dataset`` is named in messages. ConfigError for a
    category or point that does not exist, DataError if the file has another number of points than the scheme.
    """
    wanted = _category_ids(coco, dataset, categories)
    lengths = Counter(len(e["keypoints"]) // 3 for e in coco.annotations if isinstance(e.get("keypoints"), list))
    known = len(SCHEMES[scheme].landmarks) if scheme in SCHEMES else 0
    count = lengths.most_common(1)[0][0] if lengths else known  # as most annotations have
    check_count(coco.path, scheme, count)
    sound = []
    for number, entry in enumerate(coco.annotations):
        if wanted and _category(entry) not in wanted:
            continue
        with faults.at(f"{coco.path}, annotation {entry.get('id', number)}"):
            _check_entry(entry, coco, count)
            sound.append(entry)
    table = _table(coco, folder, sound, count)
    return table.where(np.all(table.visible[:, _point_numbers(coco, dataset, needed, count)], axis=-1))


def _category_ids(coco: CocoFile, dataset: str, wanted: Iterable[str | int]) -> set[int]:
    by_name = {name.lower(): number for number, name in coco.categories.items()}
    ids = set()
    for one in wanted:
        number = by_name.get(one.lower(), -1) if isinstance(one, str) else one
        if number not in coco.categories:
            known = [f"{name} ({number})" for number, name in coco.categories.items()]
            raise ConfigError(f"{dataset}: unknown species or category '{one}'. {did_you_mean(str(one), known)}")
        ids.add(number)
    return ids


def _point_numbers(coco: CocoFile, dataset: str, needed: Iterable[str | int], count: int) -> list[int]:
    numbers = []
    names = {name: place for place, name in enumerate(coco.keypoints)}
    for one in needed:
        place = names.get(one, -1) if isinstance(one, str) else one
        if not 0 <= place < count:
            hint = did_you_mean(str(one), coco.keypoints)
            raise ConfigError(f"{dataset}: unknown point '{one}' (0 to {count - 1}). {hint}")
        numbers.append(place)
    return numbers


def _table(coco: CocoFile, folder: Path, entries: Sequence[Entry], count: int) -> FaceTable:
    pictures = [coco.images[entry["image_id"]] for entry in entries]
    keys = [entry["id"] for entry in entries]
    images = [str(picture["file_name"]).replace("\\", "/") for picture in pictures]
    values = np.array([entry["keypoints"] for entry in entries], np.float64).reshape(len(entries), count, 3)
    visible = values[..., 2] > 0
    return FaceTable(
        coco.path,
        keys,
        folder,
        images,
        np.where(visible[..., None], values[..., :2], 0),
        count=count,
        label=", annotation ",
        names=[f"{image}#{key}" for image, key in zip(images, keys, strict=True)],
        visible=visible,
        boxes=_corners(entries),
        groups=[coco.categories.get(_category(entry), "") for entry in entries],
        sizes=[[_size(picture, "width"), _size(picture, "height")] for picture in pictures],
    )


def _corners(entries: Sequence[Entry]) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 of the boxes, which the file gives as x, y, width, height; NaN if there is none."""
    boxes = np.array([entry.get("bbox") or [np.nan] * 4 for entry in entries], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _category(entry: Entry) -> Any:
    number = entry.get("category_id")
    return number if _is_id(number) else None


def _size(picture: Entry, side: str) -> int:
    value = picture.get(side)
    return value if isinstance(value, int) else 0


def _check_entry(entry: Entry, coco: CocoFile, count: int) -> None:
    """Raise Fault for an annotation of another form."""
    for key in ("id", "image_id", "keypoints"):
        if key not in entry:
            raise Fault(f"no '{key}', expected id, image_id and keypoints")
    for key in ("id", "image_id"):
        if not _is_id(entry[key]):
            raise Fault(f"{key} is a {type(entry[key]).__name__}, expected a number")
    image = entry["image_id"]
    if not coco.images.get(image, {}).get("file_name"):
        raise Fault(f"image_id {image} is no picture of the file; expected an entry of 'images' with file_name")
    keypoints, box = entry["keypoints"], entry.get("bbox")
    if not _are(keypoints, int | float) or len(keypoints) != 3 * count:
        found = len(keypoints) if isinstance(keypoints, list) else type(keypoints).__name__
        raise Fault(f"keypoints: {found} values, expected {3 * count} numbers (x, y, v of {count} points)")
    for point, flag in enumerate(keypoints[2::3]):
        if not math.isfinite(flag):
            raise Fault(f"visibility of point {point} is {flag}, expected 0, 1 or 2")
    if box and (not _are(box, int | float) or len(box) != 4 or not np.isfinite(box).all()):
        raise Fault(f"bbox is {box}, expected x, y, width, height")


def _are(values: Any, kind: type | UnionType) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)
