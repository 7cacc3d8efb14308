"""Writers of the files of annotation tools, as the tools write them. Nothing here shares code with the package."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.datasets.face_drawing import Face, save_picture

#: The nine points of ``animalweb-9``, typed by hand.
NINE = [
    "left_eye_outer", "left_eye_inner", "right_eye_inner", "right_eye_outer", "nose", "mouth_left", "mouth_right",
    "lip_upper", "lip_lower",
]  # fmt: skip


def _names(faces: Sequence[Face], folder: str = "") -> list[str]:
    return [f"{folder}{face.picture or f'photo {number}'}.png" for number, face in enumerate(faces)]


def _pictures(root: Path, faces: Sequence[Face], names: Sequence[str]) -> None:
    for name, face in zip(names, faces, strict=True):
        save_picture(root / name, face.image)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _seen(face: Face) -> list[tuple[str, float, float]]:
    return [(name, float(x), float(y)) for name, (x, y), on in zip(NINE, face.points, face.visible, strict=False) if on]


def write_deeplabcut(root: Path, faces: Sequence[Face]) -> None:
    """A project's folder with the labels of one video."""
    names = _names(faces, "labeled-data/video/")
    _pictures(root, faces, names)
    rows = [["scorer", *["me"] * 18], ["bodyparts", *[n for n in NINE for _ in "xy"]], ["coords", *["x", "y"] * 9]]
    for name, face in zip(names, faces, strict=True):
        points = {n: (x, y) for n, x, y in _seen(face)}
        rows.append([name, *[str(v) for n in NINE for v in points.get(n, ("", ""))]])
    path = root / "labeled-data/video/CollectedData_me.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_labelme(root: Path, faces: Sequence[Face]) -> None:
    """One JSON file beside each picture."""
    names = _names(faces)
    _pictures(root, faces, names)
    for name, face in zip(names, faces, strict=True):
        shapes = [
            {"label": n, "points": [[x, y]], "group_id": None, "shape_type": "point", "flags": {}}
            for n, x, y in _seen(face)
        ]
        x0, y0, x1, y1 = face.box
        shapes.append(
            {"label": "cat", "points": [[x1, y1], [x0, y0]], "group_id": None, "shape_type": "rectangle", "flags": {}}
        )
        height, width = face.image.shape[:2]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
        content |= {"imageHeight": height, "imageWidth": width}
        _text(root / f"{Path(name).stem}.json", json.dumps(content, indent=2))


def write_label_studio(root: Path, faces: Sequence[Face]) -> None:
    """A JSON export, pictures beside it as Label Studio stores uploads."""
    names = _names(faces)
    _pictures(root, faces, names)
    tasks = []
    for number, (name, face) in enumerate(zip(names, faces, strict=True), 1):
        height, width = face.image.shape[:2]
        common = {"from_name": "kp", "to_name": "img", "original_width": width, "original_height": height}
        common |= {"image_rotation": 0}
        result = [
            {**common, "type": "keypointlabels", "id": f"p{k}",
             "value": {"x": x / width * 100, "y": y / height * 100, "width": 0.4, "keypointlabels": [n]}}
            for k, (n, x, y) in enumerate(_seen(face))
        ]  # fmt: skip
        path = f"/data/upload/7/{name}".replace(" ", "%20")
        tasks.append({"id": number, "annotations": [{"id": number, "result": result}], "data": {"image": path}})
    _text(root / "export.json", json.dumps(tasks))


def write_cvat(root: Path, faces: Sequence[Face]) -> None:
    """An export of 'CVAT for images 1.1'."""
    names = _names(faces)
    _pictures(root / "images", faces, names)
    parts = []
    for number, (name, face) in enumerate(zip(names, faces, strict=True)):
        height, width = face.image.shape[:2]
        seen = {n: (x, y) for n, x, y in _seen(face)}
        points = "".join(
            f'<points label="{n}" source="manual" outside="{int(n not in seen)}" occluded="0" '
            f'points="{seen.get(n, (0, 0))[0]:.2f},{seen.get(n, (0, 0))[1]:.2f}"></points>'
            for n in NINE
        )
        parts.append(
            f'<image id="{number}" name={quoteattr(name)} width="{width}" height="{height}">'
            f'<skeleton label="cat" source="manual" z_order="0">{points}</skeleton></image>'
        )
    _text(root / "annotations.xml", f"<annotations><version>1.1</version>{''.join(parts)}</annotations>")


def write_via(root: Path, faces: Sequence[Face]) -> None:
    """A CSV export of VIA 2."""
    names = _names(faces)
    _pictures(root, faces, names)
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "via_export_csv.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "file_size", "file_attributes", "region_count", "region_id",
                         "region_shape_attributes", "region_attributes"])  # fmt: skip
        for name, face in zip(names, faces, strict=True):
            seen = _seen(face)
            for k, (n, x, y) in enumerate(seen):
                shape = json.dumps({"name": "point", "cx": x, "cy": y})
                writer.writerow([name, 1, "{}", len(seen), k, shape, json.dumps({"landmark": n})])


def write_yolo_pose(root: Path, faces: Sequence[Face]) -> None:
    """The layout of Ultralytics, with names of the points."""
    names = _names(faces)
    _pictures(root / "images/train", faces, names)
    for name, face in zip(names, faces, strict=True):
        height, width = face.image.shape[:2]
        x0, y0, x1, y1 = face.box
        seen = {n: (x, y) for n, x, y in _seen(face)}
        numbers = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
        for n in NINE:
            x, y = seen.get(n, (0, 0))
            numbers += [x / width, y / height, 2 * (n in seen)]
        _text(root / f"labels/train/{Path(name).stem}.txt", "0 " + " ".join(f"{v:.8g}" for v in numbers) + "\n")
    _text(
        root / "data.yaml",
        f"path: .\ntrain: images/train\nkpt_shape: [9, 3]\nnames: {{0: cat}}\nkpt_names: {{0: [{', '.join(NINE)}]}}\n",
    )
