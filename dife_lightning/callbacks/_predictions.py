"""Transferred landmarks in pixels of the original photos: as a COCO document, and drawn on the photos."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dife_lightning._version import __version__
from dife_lightning.faces.images import read_image
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.point_names import parts
from dife_lightning.faces.schemes import Protocol
from dife_lightning.utils.files import atomic_buffer, photo_place
from dife_lightning.utils.notes import note
from dife_lightning.viz.landmarks import draw_points

if TYPE_CHECKING:  # verbs about photos need no Lightning, which takes seconds to import
    from dife_lightning.data.pairs import KeypointPairs

#: COCO's visibility flags: 2 is visible; 1 is a predicted point that is not in the annotations.
SEEN, UNSEEN = 2, 1


class Prediction(NamedTuple):
    """Landmarks that were transferred to one target face.

    Attributes:
        pairs: the set of pairs.
        number: of the pair in it.
        pair_id: ``source face>target face``.
        crop: the original photo, and the part of it that the target image shows.
        points: (P, 2) float64, x then y, pixels of the original photo.
        visible: (P,) bool: the annotations of source and target (if it has any) both show the landmark.
        scores: (P,) float32; NaN from a method without scores.
        picture: name of the photo in the files; see :func:`give_pictures`.
    """

    pairs: KeypointPairs
    number: int
    pair_id: str
    crop: PictureCrop
    points: NDArray[np.float64]
    visible: NDArray[np.bool_]
    scores: NDArray[np.float32]
    picture: str = ""

    @property
    def source(self) -> str:
        """Name of the source face."""
        return self.pair_id.partition(">")[0]

    @property
    def target(self) -> str:
        """Name of the target face."""
        return self.pair_id.partition(">")[2]

    @property
    def file(self) -> Path | None:
        """File of the photo; None for a render."""
        return self.pairs.target_file(self.number)

    @property
    def key(self) -> tuple[str, str]:
        """What tells photos apart; a render with another framing is another image."""
        return ("", str(self.file)) if self.file else (self.pairs.framing, self.crop.file_name)


def give_pictures(found: Sequence[Prediction]) -> list[Prediction]:
    """Return the predictions with the names of their photos, as their data set lists them.

    Where photos in several folders have one name, all names are relative to the folder that all photos have in common.
    """
    files: dict[str, set[Path]] = defaultdict(set)
    for one in found:
        if one.file is not None:
            files[one.crop.file_name].add(one.file)
    if all(len(group) == 1 for group in files.values()):
        return [one._replace(picture=one.crop.file_name) for one in found]
    root = os.path.commonpath([os.path.abspath(file.parent) for group in files.values() for file in group])
    note(f"predict: photos in several folders have one name; file names are relative to {root}")
    return [
        one._replace(picture=Path(os.path.relpath(os.path.abspath(one.file), root)).as_posix())
        if one.file is not None
        else one._replace(picture=one.crop.file_name)
        for one in found
    ]


def coco_document(found: Sequence[Prediction], protocol: Protocol) -> dict[str, Any]:
    """Return the COCO keypoint document: one image entry a photo, one annotation a prediction; ids count from 1."""
    stored = any(one.pairs.eye_order == "stored" for one in found)
    left = "left as each data set stores it" if stored else "left is the viewer's left"
    numbers: dict[tuple[str, str], int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for one in found:
        if one.key not in numbers:
            numbers[one.key] = len(images) + 1
            size = {"width": one.crop.width, "height": one.crop.height}
            images.append({"id": len(images) + 1, "file_name": one.picture, **size})
        annotations.append({"id": len(annotations) + 1, "image_id": numbers[one.key], **_annotation(one)})
    category = {"id": 1, "name": "face", "supercategory": "face", "keypoints": list(protocol.landmarks)}
    return {
        "info": {**_INFO, "coordinates": f"{PIXELS}; {left}"},
        "images": images,
        "annotations": annotations,
        "categories": [{**category, "skeleton": []}],
    }


def _annotation(one: Prediction) -> dict[str, Any]:
    """Return one COCO annotation; ``face`` and ``source`` are the names of the target and of the source face."""
    flags = [SEEN if seen else UNSEEN for seen in one.visible.tolist()]
    points = [value for point, flag in zip(one.points.tolist(), flags, strict=True) for value in (*point, flag)]
    x, y, width, height = shown_part(one.crop, one.pairs.size)
    fields = {
        "category_id": 1,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "keypoints": points,
        "num_keypoints": len(flags),
        "face": one.target,
        "source": one.source,
        "set": one.pairs.name,
    }
    if np.isfinite(one.scores).all():
        scores = [round(score, 4) for score in one.scores.tolist()]
        fields |= {"score": round(sum(scores) / len(scores), 4), "keypoint_scores": scores}
    return fields


def shown_part(crop: PictureCrop, size: int) -> tuple[float, float, float, float]:
    """Return x, y, width and height of the part of a photo in its crop, from edge to edge as COCO counts them."""
    low, high = -0.5, size - 0.5
    corners = crop.picture_points(np.array([[low, low], [low, high], [high, low], [high, high]])) + 0.5
    corners = corners.clip((0, 0), (crop.width, crop.height))
    (x, y), (right, bottom) = corners.min(0).round(2).tolist(), corners.max(0).round(2).tolist()
    return x, y, round(right - x, 2), round(bottom - y, 2)


def write_overlays(found: Sequence[Prediction], protocol: Protocol, folder: Path) -> None:
    """Draw all predictions of a photo on it, in its own size, and write it to ``folder`` under its name, as JPEG."""
    photos: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for one in found:
        photos[one.key].append(one)
    for group in photos.values():
        first = group[0]
        image = first.pairs.target_image(first.number) if first.file is None else read_image(first.file)
        place = folder if first.file is not None else folder / first.pairs.framing
        write_overlay(image, [one.points for one in group], protocol.landmarks, place, first.picture)


def write_overlay(
    image: NDArray[np.uint8], faces: Sequence[NDArray[np.floating]], names: Sequence[str], folder: Path, picture: str
) -> Path:
    """Draw the points of a photo's faces on it, and write it to ``folder`` under its name, as JPEG; return the file.

    Args:
        image: (H, W, 3) uint8 RGB, the photo in its own size.
        faces: (P, 2) points of each face in pixels of the photo; NaN ones are not drawn.
        names: of the P points.
        folder: to write to.
        picture: name of the photo, which may be a path; it does not lead out of the folder.
    """
    sides = [side if "eye" in words else "" for side, words in map(parts, names)]
    place = photo_place(folder, picture)
    is_jpeg = place.suffix.lower() in (".jpg", ".jpeg")
    place = place if is_jpeg else place.with_name(f"{place.name}.jpg")
    with atomic_buffer(place) as buffer:
        Image.fromarray(draw_points(image, faces, names, sides)).save(buffer, format="JPEG", quality=92)
    return place


_INFO = {
    "description": f"landmarks transferred by dife-lightning {__version__}",
    "coordinates": "",
    "visibility": "2: visible in source and target annotations; 1: predicted all the same",
    "score": "cosine similarity of the embeddings, in [-1, 1]; absent from methods without an embedding",
}
#: What coordinates in the files are.
PIXELS = "x, y in pixels of the original image (EXIF applied), pixel centres at integers"
