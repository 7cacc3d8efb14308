"""COCO keypoints: one JSON file."""

from __future__ import annotations

import json

from dife_lightning._version import __version__
from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import category, extent_or_box, number

FILE = "annotations.json"


def write_coco(labels: Labels) -> dict[str, str]:
    """Return the text of the file. A category is a group; v is 2, 1 for an occluded point, 0 for one not labelled."""
    names = labels.ordered_names()
    categories = {name: k for k, name in enumerate(dict.fromkeys(map(category, labels.faces)), 1)}
    pictures = {image: k for k, image in enumerate(dict.fromkeys(face.image for face in labels.faces), 1)}
    sizes = {face.image: face.size for face in labels.faces}
    content = {
        "info": {"description": f"converted by dife-lightning {__version__}"},
        "images": [
            {"id": k, "file_name": image, "width": sizes[image][0], "height": sizes[image][1]}
            for image, k in pictures.items()
        ],
        "annotations": [
            {
                "id": k,
                "image_id": pictures[face.image],
                "category_id": categories[category(face)],
                **_values(face, names, labels),
            }
            for k, face in enumerate(labels.faces, 1)
        ],
        "categories": [
            {"id": k, "name": name, "supercategory": "face", "keypoints": names, "skeleton": []}
            for name, k in categories.items()
        ],
    }
    return {FILE: json.dumps(content)}


def _values(face: LabelledFace, names: list[str], labels: Labels) -> dict[str, object]:
    points = [(*face.points.get(name, (0, 0)), _flag(face, name)) for name in names]
    x0, y0, x1, y1 = extent_or_box(face, labels.notes)
    return {
        "keypoints": [number(value) for point in points for value in point],
        "num_keypoints": len(face.points),
        "bbox": [number(value) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": number((x1 - x0) * (y1 - y0)),
        "iscrowd": 0,
    }


def _flag(face: LabelledFace, name: str) -> int:
    return 0 if name not in face.points else 1 if name in face.occluded else 2
