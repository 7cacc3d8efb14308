"""Label Studio: tasks with annotations to import, and the labelling interface that shows them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import by_picture, category, extent_or_box, note_losses

#: Address of a picture in the folder that Label Studio serves (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).
_ADDRESS = "/data/local-files/?d="


def write_label_studio(labels: Labels) -> dict[str, str]:
    """Return the tasks and the interface.

    Numbers are percents of the picture. Where the data set has boxes, or a picture several faces, each face is a
    rectangle, and the points are its children.
    """
    note_losses(labels, "Label Studio", occluded=True)
    pictures = by_picture(labels)
    boxed = any(face.box is not None for face in labels.faces) or any(len(faces) > 1 for faces in pictures.values())
    tasks = []
    for image, faces in pictures.items():
        result = [region for k, face in enumerate(faces) for region in _regions(face, f"face{k}", boxed, labels)]
        tasks.append({"data": {"img": _ADDRESS + quote(image)}, "annotations": [{"result": result}]})
    groups = list(dict.fromkeys(map(category, labels.faces))) if boxed else []
    return {
        "tasks.json": json.dumps(tasks, indent=1),
        "labeling_interface.xml": _interface(labels.ordered_names(), groups),
    }


def _regions(face: LabelledFace, key: str, boxed: bool, labels: Labels) -> list[dict[str, Any]]:
    width, height = face.size
    common = {"to_name": "img", "original_width": width, "original_height": height, "image_rotation": 0}
    found: list[dict[str, Any]] = []
    if boxed:
        x0, y0, x1, y1 = extent_or_box(face, labels.notes)
        value = {"x": x0 / width * 100, "y": y0 / height * 100, "rotation": 0, "rectanglelabels": [category(face)]}
        value |= {"width": (x1 - x0) / width * 100, "height": (y1 - y0) / height * 100}
        found.append({**common, "id": key, "from_name": "box", "type": "rectanglelabels", "value": value})
    for name, (x, y) in face.points.items():
        value = {"x": x / width * 100, "y": y / height * 100, "width": 0.5, "keypointlabels": [name]}
        region = {**common, "id": f"{key}.{name}", "from_name": "kp", "type": "keypointlabels", "value": value}
        found.append({**region, "parentID": key} if boxed else region)
    return found


def _interface(names: list[str], groups: list[str]) -> str:
    points = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in names)
    boxes = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in groups)
    rectangles = f'  <RectangleLabels name="box" toName="img">\n{boxes}  </RectangleLabels>\n' if groups else ""
    return (
        f'<View>\n  <Image name="img" value="$img"/>\n{rectangles}'
        f'  <KeyPointLabels name="kp" toName="img">\n{points}  </KeyPointLabels>\n</View>\n'
    )
