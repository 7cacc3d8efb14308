"""Writers of the layouts in which data sets are distributed, and simple pictures to fill them with.

``write_<name>(root, faces)`` makes the tree of one data set below ``root``. A :class:`Face` has a picture and points in
the data set's own scheme, in pixels with centres at integers; the writer turns them into what the files hold. Splits
without a face get empty lists. Nothing here shares code with the readers.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets import tool_layouts
from tests.datasets.face_drawing import COUNTS as COUNTS
from tests.datasets.face_drawing import Face as Face
from tests.datasets.face_drawing import draw_face as draw_face
from tests.datasets.face_drawing import save_picture as save_picture

WFLW_ATTRIBUTES = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")
#: Some of AP-10K's categories, under their ids.
AP10K_SPECIES = {
    "antelope": 1, "dog": 8, "fox": 9, "wolf": 10, "cat": 24, "cheetah": 25, "jaguar": 26, "leopard": 28, "lion": 29,
    "tiger": 32,
}  # fmt: skip
AP10K_POINTS = [
    "left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw",
    "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw", "right_hip",
    "right_knee", "right_back_paw",
]  # fmt: skip


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _pictures(folder: Path, faces: Sequence[Face], names: Sequence[str]) -> None:
    for name, face in dict(reversed(list(zip(names, faces, strict=True)))).items():
        save_picture(folder / name, face.image)


def _coordinates(face: Face) -> str:
    return " ".join(f"{value:.6f}" for value in np.ravel(face.points))


def write_celeba(root: Path, faces: Sequence[Face], images: str = "img_align_celeba") -> None:
    """CelebA and MAFL; group ``mafl-train`` or ``mafl-test``, by default as the split. Coordinates are rounded."""
    names = [f"{face.picture or f'{number:06d}'}.jpg" for number, face in enumerate(faces, 1)]
    _pictures(root / "Img" / images, faces, names)
    header = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    rows = [
        name + "  " + "   ".join(f"{round(v):3d}" for v in np.ravel(face.points))
        for name, face in zip(names, faces, strict=True)
    ]
    _write(root / "Anno/list_landmarks_align_celeba.txt", [str(len(faces)), f"{header} ", *rows])
    numbers = {"train": 0, "val": 1, "test": 2}
    pairs = list(zip(names, faces, strict=True))
    _write(root / "Eval/list_eval_partition.txt", [f"{name} {numbers[face.split]}" for name, face in pairs])
    for group, file in (("mafl-train", "training"), ("mafl-test", "testing")):
        default = group == "mafl-train"
        chosen = [n for n, f in pairs if f.group == group or (not f.group and (f.split == "train") == default)]
        _write(root / f"MAFL/{file}.txt", chosen)


def write_wflw(root: Path, faces: Sequence[Face]) -> None:
    """WFLW; the group is attributes joined by ``+``."""
    names = [f"7--Cheering/{face.picture or f'7_Cheering_{number}'}.jpg" for number, face in enumerate(faces)]
    _pictures(root / "WFLW_images", faces, names)
    for split in ("train", "test"):
        rows = []
        for name, face in zip(names, faces, strict=True):
            attributes = [str(int(a in face.group.split("+"))) for a in WFLW_ATTRIBUTES]
            box = [f"{value:.0f}" for value in face.box]
            if face.split == split:
                rows.append(" ".join([_coordinates(face), *box, *attributes, name]))
        folder = root / "WFLW_annotations/list_98pt_rect_attr_train_test"
        _write(folder / f"list_98pt_rect_attr_{split}.txt", rows)


def coco_content(
    faces: Sequence[Face], names: Sequence[str], categories: dict[str, int], keypoints: list[str]
) -> dict[str, Any]:
    """Return faces as COCO's lists; a picture that several faces share is there once."""
    numbers = {name: 100 + i for i, name in enumerate(dict.fromkeys(names))}
    images = {
        name: {"id": numbers[name], "file_name": name, "width": face.image.shape[1], "height": face.image.shape[0]}
        for name, face in reversed(list(zip(names, faces, strict=True)))
    }
    annotations = []
    for i, (name, face) in enumerate(zip(names, faces, strict=True)):
        x0, y0, x1, y1 = face.box
        triples = [[*point, 2] if seen else [0, 0, 0] for point, seen in zip(face.points, face.visible, strict=True)]
        annotations.append({
            "id": 1 + i, "image_id": numbers[name], "category_id": categories[face.group or next(iter(categories))],
            "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
            "num_keypoints": int(face.visible.sum()), "keypoints": [float(v) for triple in triples for v in triple],
        })  # fmt: skip
    listed = [{"id": i, "name": name, "keypoints": keypoints, "skeleton": []} for name, i in categories.items()]
    return {"info": {}, "images": list(images.values()), "annotations": annotations, "categories": listed}


def write_ap10k(root: Path, faces: Sequence[Face]) -> None:
    """AP-10K; the group is a species of ``AP10K_SPECIES``. All three folds are the same."""
    names = [f"{face.picture or f'{number:012d}'}.jpg" for number, face in enumerate(faces, 1)]
    _pictures(root / "data", faces, names)
    for split in ("train", "val", "test"):
        pairs = [(face, name) for face, name in zip(faces, names, strict=True) if face.split == split]
        content = coco_content([f for f, _ in pairs], [n for _, n in pairs], AP10K_SPECIES, AP10K_POINTS)
        for fold in (1, 2, 3):
            _write(root / f"annotations/ap10k-{split}-split{fold}.json", [json.dumps(content)])


def write_coco_keypoints(root: Path, faces: Sequence[Face], file: str = "annotations.json") -> None:
    """One COCO file beside its pictures."""
    names = [f"{face.picture or f'{number:04d}'}.png" for number, face in enumerate(faces)]
    _pictures(root, faces, names)
    groups = dict.fromkeys(face.group or "face" for face in faces)
    categories = {group: 1 + i for i, group in enumerate(groups or ["face"])}
    _write(root / file, [json.dumps(coco_content(faces, names, categories, []))])


def pts_text(points: np.ndarray) -> str:
    """Return the text of a .pts file."""
    rows = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points)
    return f"version: 1\nn_points: {len(points)}\n{{\n{rows}}}\n"


def write_animalweb(root: Path, faces: Sequence[Face], boxes: bool = True) -> None:
    """AnimalWeb, the flat folder; the group is the species (``koala``). ``boxes`` adds Meta-CSKT's bbox.csv."""
    stems = [face.picture or f"{face.group or 'koala'}_{number}" for number, face in enumerate(faces)]
    _pictures(root, faces, [f"{stem}.jpg" for stem in stems])
    for stem, face in zip(stems, faces, strict=True):
        (root / f"{stem}.pts").write_text(pts_text(face.points))
    rows = ["img,x,y,w,h"]
    for stem, (x0, y0, x1, y1) in zip(stems, (face.box for face in faces), strict=True):
        rows.append(f"{stem}.jpg,{x0},{y0},{x1 - x0},{y1 - y0}")
    if boxes:
        _write(root / "bbox.csv", rows)


def write_horse(root: Path, faces: Sequence[Face], prefix: str = "") -> None:
    """Horse Facial Keypoint; ``prefix`` stands before each path of the lists, as where they were made."""
    stems = [face.picture or str(200 + number) for number, face in enumerate(faces)]
    _pictures(root / "horse/im/flickr-horses", faces, [f"{stem}.jpg" for stem in stems])
    (root / "horse/npy/flickr-horses").mkdir(parents=True, exist_ok=True)
    for stem, face in zip(stems, faces, strict=True):
        flags = np.where(face.visible, 1, -1)[:, None]
        values = np.where(face.visible[:, None], np.hstack((face.points, flags)), -1)
        np.save(root / f"horse/npy/flickr-horses/{stem}.npy", values.astype(np.float32))
    for split, file in (("train", "train_horse.txt"), ("test", "test_minLoss_horse.txt")):
        chosen = [stem for stem, face in zip(stems, faces, strict=True) if face.split == split]
        rows = [f"{prefix}horse/im/flickr-horses/{s}.jpg {prefix}horse/npy/flickr-horses/{s}.npy" for s in chosen]
        _write(root / file, rows)


def write_w300(root: Path, faces: Sequence[Face]) -> None:
    """300-W; the group is ``afw``, ``helen``, ``lfpw`` or ``ibug``, by default ``afw`` to train, ``ibug`` to test."""
    for folder in ("afw", "helen/trainset", "helen/testset", "lfpw/trainset", "lfpw/testset", "ibug"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, face in enumerate(faces):
        group = face.group or ("afw" if face.split == "train" else "ibug")
        folder = (
            f"{group}/{'trainset' if face.split == 'train' else 'testset'}" if group in ("helen", "lfpw") else group
        )
        stem, suffix = face.picture or f"image_{number:03d}", ".png" if group == "lfpw" else ".jpg"
        save_picture(root / folder / (stem + suffix), face.image)
        (root / folder / f"{stem}.pts").write_text(pts_text(np.asarray(face.points) + 1))


def _write_flw(root: Path, faces: Sequence[Face]) -> None:
    (root / "labels").mkdir(parents=True, exist_ok=True)
    for number, face in enumerate(faces):
        stem = face.picture or f"{number:08d}_000"
        save_picture(root / f"images/{stem}.png", face.image)
        content = {"labels": np.asarray(face.points).tolist(), "bounding_boxes": [float(v) for v in face.box]}
        (root / f"labels/{stem}.json").write_text(json.dumps(content))


def write_catflw(root: Path, faces: Sequence[Face]) -> None:
    """CatFLW."""
    _write_flw(root, faces)


def write_dogflw(root: Path, faces: Sequence[Face]) -> None:
    """DogFLW."""
    _write_flw(root, faces)


def write_folder(root: Path, faces: Sequence[Face], landmarks: Sequence[str] = (), file: str = "points.csv") -> None:
    """A folder and its CSV file, with numbered columns or with the names ``landmarks``, in that order."""
    names = [f"{face.picture or f'face {number}'}.png" for number, face in enumerate(faces)]
    _pictures(root, faces, names)
    count = len(faces[0].points) if faces else 0
    columns = [f"{name}_{axis}" for name in landmarks for axis in "xy"]
    columns = columns or [f"{axis}{k}" for k in range(count) for axis in "xy"]
    root.mkdir(parents=True, exist_ok=True)
    with open(root / file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "name", "group", *columns, "box_x0", "box_y0", "box_x1", "box_y1"])
        for number, (name, face) in enumerate(zip(names, faces, strict=True)):
            pairs = zip(face.points, face.visible, strict=True)
            cells = [cell for point, seen in pairs for cell in (point if seen else ("", ""))]
            writer.writerow([name, f"{number}", face.group, *cells, *face.box])


@dataclass(frozen=True)
class Layout:
    """How a data set is written and read back.

    Attributes:
        write: the writer.
        scheme: of its points.
        options: with which ``load_dataset`` reads the faces of split ``test``.
    """

    write: Callable[[Path, Sequence[Face]], None]
    scheme: str
    options: dict[str, Any] = field(default_factory=dict)


LAYOUTS = {
    "animalweb": Layout(write_animalweb, "animalweb-9"),
    "ap10k": Layout(write_ap10k, "ap10k-17"),
    "catflw": Layout(write_catflw, "catflw-48"),
    "celeba": Layout(write_celeba, "mafl-5"),
    "coco-keypoints": Layout(
        write_coco_keypoints, "animalpose-20", {"file": "annotations.json", "scheme": "animalpose-20"}
    ),
    "dogflw": Layout(write_dogflw, "dogflw-46"),
    "folder": Layout(write_folder, "animalweb-9", {"scheme": "animalweb-9"}),
    "horse": Layout(write_horse, "horse-5"),
    "w300": Layout(write_w300, "300w-68"),
    "wflw": Layout(write_wflw, "wflw-98"),
}
#: Readers of annotation tools, which take the names in the files; here those of a built-in scheme.
TOOLS = {
    "cvat": tool_layouts.write_cvat,
    "deeplabcut": tool_layouts.write_deeplabcut,
    "label-studio": tool_layouts.write_label_studio,
    "labelme": tool_layouts.write_labelme,
    "via": tool_layouts.write_via,
    "yolo-pose": tool_layouts.write_yolo_pose,
}
LAYOUTS |= {name: Layout(write, "animalweb-9", {"scheme": "animalweb-9"}) for name, write in TOOLS.items()}
