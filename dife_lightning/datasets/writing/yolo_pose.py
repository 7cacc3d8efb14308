"""YOLO-pose: the layout of Ultralytics."""

from __future__ import annotations

from pathlib import PurePosixPath

import yaml

from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import by_picture, category, extent_or_box

FILE = "data.yaml"
_IMAGES, _LABELS = "images/train/", "labels/train/"


def place_yolo_pose(image: str) -> str:
    """Return where a picture goes: the last folder 'images' of its path must be the first, which 'labels' replaces."""
    *folders, name = image.removeprefix(_IMAGES).split("/")
    return _IMAGES + "/".join([*(folder for folder in folders if folder != "images"), name])


def write_yolo_pose(labels: Labels) -> dict[str, str]:
    """Return the YAML file and one label file a picture. All pictures are in ``train``; v is as in COCO."""
    names = labels.ordered_names()
    classes = {name: k for k, name in enumerate(dict.fromkeys(map(category, labels.faces)))}
    files = {FILE: _yaml(labels, names, list(classes))}
    for image, faces in by_picture(labels).items():
        path = PurePosixPath(_LABELS + image.removeprefix(_IMAGES)).with_suffix(".txt")
        files[str(path)] = "".join(f"{classes[category(face)]} {_numbers(face, names, labels)}\n" for face in faces)
    labels.notes["pictures in train, which stands as val, too (split them for a training with Ultralytics)"] += (
        len(files) - 1
    )
    return files


def _yaml(labels: Labels, names: list[str], classes: list[str]) -> str:
    flip, where = list(range(len(names))), {name: k for k, name in enumerate(names)}
    for a, b in labels.mirror or []:
        flip[where[a]], flip[where[b]] = where[b], where[a]
    content = {
        "path": ".",
        "train": _IMAGES.rstrip("/"),
        "val": _IMAGES.rstrip("/"),
        "kpt_shape": [len(names), 3],
        "flip_idx": flip,
        "names": dict(enumerate(classes)),
        "kpt_names": dict.fromkeys(range(len(classes)), names),
    }
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _numbers(face: LabelledFace, names: list[str], labels: Labels) -> str:
    """Return box and points relative to the picture."""
    width, height = face.size
    x0, y0, x1, y1 = extent_or_box(face, labels.notes)
    x0, x1, y0, y1 = max(x0 / width, 0), min(x1 / width, 1), max(y0 / height, 0), min(y1 / height, 1)
    values = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
    for name in names:
        x, y = face.points.get(name, (0, 0))
        inside = 0 <= x <= width and 0 <= y <= height
        if not inside:
            labels.notes["points outside their picture written as not labelled, since YOLO refuses them"] += 1
        flag = 0 if name not in face.points or not inside else 1 if name in face.occluded else 2
        values += [x / width, y / height, flag] if flag else [0, 0, 0]
    return " ".join(f"{value:.8g}" for value in values)
