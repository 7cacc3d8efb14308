"""Landmarks that a model found on photos, in pixels of the original photos: as COCO document, tables and drawings."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning._version import __version__
from dife_lightning.callbacks._predictions import PIXELS, SEEN, UNSEEN, shown_part, write_overlay
from dife_lightning.datasets.parsing.pictures import OUTSIDE
from dife_lightning.datasets.writing.places import FACE, number
from dife_lightning.errors import ConfigError
from dife_lightning.faces.images import read_image
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import Scheme
from dife_lightning.mining.next_labels import NextLabel
from dife_lightning.utils.files import atomic_write

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
NEXT = ("order", "image", "name", "confidence", "flip_shift", "doubt", "distance", "weakest", "weakest_score")


@dataclass(frozen=True, eq=False)
class FoundFace:
    """What a model found on one face.

    Attributes:
        name: of the face.
        crop: the photo, and the part of it that the image shows.
        size: side of the image in pixels.
        file: the photo's; None for a render.
        box: (4,) x0, y0, x1, y1 in pixels of the image; NaN where the face has none.
        detected: (K, 2) points in pixels of the image.
        peaks: (K,) the highest values of the heat maps.
        flip_shift: see ``MirrorCheck.shifts``; NaN if there is none.
        grey: (D,) a small grey picture of the face; empty if none was asked for.
        sure: (K,) which points are to be trusted; None for all.
        cycle_error: (K,) of points that were carried from another photo, see ``CarriedFace``; None for others.
        likeness: how much a face that was looked for is like one, see ``FaceFinder``; None for others.
    """

    name: str
    crop: PictureCrop
    size: int
    file: Path | None
    box: NDArray[np.float32]
    detected: NDArray[np.float32]
    peaks: NDArray[np.float32]
    flip_shift: float
    grey: NDArray[np.float32]
    sure: NDArray[np.bool_] | None = None
    cycle_error: NDArray[np.float32] | None = None
    likeness: float | None = None

    @property
    def picture(self) -> str:
        """The photo as its folder lists it."""
        return self.crop.file_name

    @property
    def scores(self) -> NDArray[np.float64]:
        """Confidence (K,) of each point, in [0, 1]."""
        return self.peaks.astype(np.float64).clip(0, 1)

    @property
    def confidence(self) -> float:
        """Mean of the scores."""
        return float(self.scores.mean())

    @property
    def points(self) -> NDArray[np.float64]:
        """Points (K, 2) in pixels of the photo; NaN where none was found.

        That is where the heat map has no positive value, or its peak lies so far outside the photo, in the padding,
        that a reader of annotations would refuse the point.
        """
        points, crop = self.crop.picture_points(self.detected), self.crop
        slack = OUTSIDE * max(crop.width, crop.height)
        inside = (points >= -0.5 - slack) & (points <= np.array([crop.width, crop.height]) - 0.5 + slack)
        found: NDArray[np.float64] = np.where((inside.all(1) & (self.peaks > 0))[:, None], points, np.nan)
        return found

    @property
    def corners(self) -> list[float] | None:
        """The box of the face in pixels of the photo; None without one."""
        if not np.isfinite(self.box).all():
            return None
        return self.crop.picture_points(self.box.reshape(2, 2)).round(2).ravel().tolist()


def check_pictures(found: Sequence[FoundFace]) -> None:
    """Raise ConfigError for two photos of one name, in several folders."""
    files: dict[str, Path | None] = {}
    for face in found:
        if files.setdefault(face.picture, face.file) != face.file:
            both = f"{files[face.picture]} and {face.file}"
            raise ConfigError(f"{both} have one name in their data sets; predict on one domain at a time")


def coco_document(found: Sequence[FoundFace], scheme: Scheme, **info: str) -> dict[str, Any]:
    """Return the COCO keypoint document: one image entry a photo, one annotation a face; ids count from 1.

    ``info`` replaces what the document says of its numbers.
    """
    numbers = {picture: k for k, picture in enumerate(dict.fromkeys(face.picture for face in found), 1)}
    crops = {face.picture: face.crop for face in found}
    left = "the face's own" if scheme.eye_convention == "subject" else "the viewer's"
    return {
        "info": {**_INFO, "coordinates": f"{PIXELS}; left is {left}", **info},
        "images": [
            {"id": k, "file_name": picture, "width": crops[picture].width, "height": crops[picture].height}
            for picture, k in numbers.items()
        ],
        "annotations": [
            {"id": k, "image_id": numbers[face.picture], "category_id": 1, **_annotation(face)}
            for k, face in enumerate(found, 1)
        ],
        "categories": [
            {"id": 1, "name": FACE, "supercategory": FACE, "keypoints": list(scheme.landmarks), "skeleton": []}
        ],
    }


def _annotation(face: FoundFace) -> dict[str, Any]:
    flags = [SEEN] * len(face.peaks) if face.sure is None else np.where(face.sure, SEEN, UNSEEN).tolist()
    placed = zip(face.points.tolist(), flags, strict=True)
    points = [(number(x), number(y), flag) if x == x else (0, 0, 0) for (x, y), flag in placed]
    x, y, width, height = shown_part(face.crop, face.size)
    if face.corners is not None:
        x, y, right, bottom = face.corners
        width, height = round(right - x, 2), round(bottom - y, 2)
    more = {} if math.isnan(face.flip_shift) else {"flip_shift": round(face.flip_shift, 4)}
    if face.likeness is not None:
        more["likeness"] = face.likeness
    if face.cycle_error is not None:
        more["keypoint_cycle_errors"] = face.cycle_error.astype(np.float64).round(4).tolist()
    return {
        "bbox": [x, y, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "keypoints": [value for point in points for value in point],
        "num_keypoints": sum(flag > 0 for _, _, flag in points),
        "face": face.name,
        "score": round(face.confidence, 4),
        "keypoint_scores": face.scores.round(4).tolist(),
        **more,
    }


def write_table(path: Path, found: Sequence[FoundFace], scheme: Scheme) -> None:
    """Write one row a face, as the reader ``folder`` takes it: points, scores, confidence, flip shift and box.

    Carried points also have their cycle error, and the flag ``v``: 0 for those without a match, which are no labels.
    Their faces have a likeness in place of the flip shift.
    """
    carried = any(face.cycle_error is not None for face in found)
    kinds = ("x", "y", "v", "score", "cycle_error") if carried else ("x", "y", "score")
    points = [f"{name}_{what}" for name in scheme.landmarks for what in kinds]
    box = BOX if any(face.corners is not None for face in found) else ()
    rows = []
    for face in found:
        values = zip(face.points.tolist(), *_numbers(face), strict=True)
        cells = [cell for point, *rest in values for cell in (*_place(point), *rest)]
        corners: Sequence[object] = face.corners or [""] * 4
        likeness = math.nan if face.likeness is None else face.likeness
        sure = (_decimals(face.confidence), _decimals(likeness if carried else face.flip_shift))
        rows.append((face.picture, face.name, *cells, *sure, *(corners if box else ())))
    _write_csv(path, ("image", "name", *points, "confidence", "likeness" if carried else "flip_shift", *box), rows)


def _numbers(face: FoundFace) -> list[list[str]]:
    """Return columns of numbers of the points: the score; of carried points flag, score and cycle error."""
    scores = [_decimals(score) for score in face.scores.tolist()]
    if face.cycle_error is None:
        return [scores]
    matched = np.ones(len(scores), bool) if face.sure is None else face.sure
    flags = [str(int(flag)) for flag in matched & np.isfinite(face.points).all(axis=1)]
    return [flags, scores, [_decimals(error) for error in face.cycle_error.tolist()]]


def write_next(path: Path, found: Sequence[FoundFace], chosen: Sequence[NextLabel], scheme: Scheme) -> None:
    """Write the photos to label next, each with its least certain face, that face's weakest point, and why."""
    rows = []
    for order, one in enumerate(chosen, 1):
        face = found[one.face]
        k = int(face.scores.argmin())
        why = (*_certainty(face), _decimals(one.doubt), _decimals(one.distance))
        rows.append((order, face.picture, face.name, *why, scheme.landmarks[k], _decimals(face.scores[k])))
    _write_csv(path, NEXT, rows)


def draw(found: Sequence[FoundFace], scheme: Scheme, folder: Path, most: int) -> list[Path]:
    """Draw the points of the first ``most`` photos on them; return the drawings, JPEG files."""
    photos: dict[Path, list[FoundFace]] = {}
    for face in found:
        if face.file is not None:
            photos.setdefault(face.file, []).append(face)
    return [
        write_overlay(read_image(file), [face.points for face in faces], scheme.landmarks, folder, faces[0].picture)
        for file, faces in list(photos.items())[:most]
    ]


def _certainty(face: FoundFace) -> tuple[str, str]:
    return _decimals(face.confidence), _decimals(face.flip_shift)


def _place(point: Sequence[float]) -> tuple[object, ...]:
    return tuple(number(value) for value in point) if point[0] == point[0] else ("", "")


def _decimals(value: float) -> str:
    """Return a number with four decimals; an empty text for NaN."""
    return f"{value:.4f}" if value == value else ""


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


_INFO = {
    "description": f"landmarks found by dife-lightning {__version__}",
    "coordinates": "",
    "visibility": "2: found; 0: not found",
    "score": "keypoint_scores: highest value of the point's heat map, 0 to 1; score: their mean",
    "flip_shift": "mean distance to the points found in the mirrored image, as a fraction of the side of the crop",
}
