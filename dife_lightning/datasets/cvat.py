"""CVAT: the XML export for images."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dife_lightning.datasets.parsing.files import FaceFiles, choose, only_file, root_folder
from dife_lightning.datasets.parsing.labels import LabelledFace, Labels, below, expecting, labelled_table
from dife_lightning.datasets.parsing.marks import Mark, MarkedBox, add_marked_faces, check_once
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.errors import DataError

DATASET = "Cvat"

#: CVAT writes 1, other programs that write its form also true.
_TRUE = ("1", "true", "True")
_HOW = "draw a skeleton for each face in CVAT, or group its points and box (G)"


class Cvat(FaceFiles):
    """Pictures labelled in CVAT with skeletons or points, exported as 'CVAT for images 1.1'.

    A skeleton is a face, its label the group, its points the scheme. Points that are not of a skeleton are named by
    their own labels; the points of one group, or all of a picture, are a face. Points that are 'outside' are not
    labelled.

    Args:
        root: folder of the export.
        file: the XML file; by default ``annotations.xml``, or the only one of the root.
        label: only skeletons of this label.
        scheme: landmark scheme, by name or as a YAML file; by default the file's own names.
        images: folder of the pictures; by default ``images`` in the root, where CVAT puts them, or the root itself.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "cvat"

    def __init__(
        self,
        root: str | Path,
        file: str = "",
        label: str = "",
        scheme: GivenScheme = None,
        images: str = "",
        skip_broken: bool = False,
    ) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        usual = folder / (file or "annotations.xml")
        path = usual if file or usual.is_file() else only_file(folder, "*.xml", "export of CVAT")
        tree = _parse(path)
        skeletons = sorted({element.get("label", "") for element in tree.iter("skeleton")})
        if label:
            choose(self.name, "label", label, skeletons)
        labels.names = _names(tree, label)
        for image in tree.iter("image"):
            source = f"{below(path, folder)}, image {image.get('id', '')} ({image.get('name', '')})"
            with faults.at(f"{folder}/{source}"), expecting("an image with width and height"):
                _add(labels, image, source, label)
        inner = "images" if (folder / "images").is_dir() and not images else images
        if not labels.faces and not faults.left_out:
            raise DataError(f"{path}: no skeletons and no points; found {_found(tree)}. Label key points in CVAT "
                            f"as a skeleton, and export as 'CVAT for images 1.1'.")  # fmt: skip
        self.scheme, table = labelled_table(labels, folder, scheme, faults, inner)
        facts = {"file": file, "label": label, "scheme": str(scheme or "")}
        super().__init__(table, faults, facts)


def _parse(path: Path) -> ET.Element:
    try:
        tree = ET.parse(path).getroot()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the root folder and --file.") from None
    except (ET.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path}: not XML ({error}).") from None
    if tree.tag != "annotations":
        raise DataError(f"{path} starts with <{tree.tag}>, expected <annotations> of 'CVAT for images 1.1'.")
    if tree.find("track") is not None:
        raise DataError(f"{path} holds tracks of a video; export the task as 'CVAT for images 1.1'.")
    return tree


def _found(tree: ET.Element) -> str:
    counts = Counter(shape.tag for image in tree.iter("image") for shape in image)
    return ", ".join(f"{count} {tag}" for tag, count in counts.items()) or f"{len(tree.findall('image'))} bare images"


def _names(tree: ET.Element, label: str) -> list[str]:
    """Return the points of the skeletons in the order of the task's labels, as far as they are used."""
    skeletons = [s for s in tree.iter("skeleton") if label in ("", s.get("label"))]
    used = dict.fromkeys(point.get("label", "") for skeleton in skeletons for point in skeleton)
    defined = [entry.findtext("name", "") for entry in tree.iter("label") if entry.find("parent") is not None]
    return list(dict.fromkeys([*(name for name in defined if name in used), *used]))


def _add(labels: Labels, image: ET.Element, source: str, label: str) -> None:
    name, size = image.get("name", ""), (int(image.get("width", 0)), int(image.get("height", 0)))
    boxes = [MarkedBox(_box(box), box.get("label", ""), box.get("group_id", "")) for box in image.iter("box")]
    by_group = {box.instance: box.box for box in boxes if box.instance}
    skeletons = [one for one in image.findall("skeleton") if label in ("", one.get("label"))]
    for skeleton in skeletons:
        marks = [mark for element in skeleton.findall("points") for mark in _marks(element)]
        check_once(marks, "delete the other one in CVAT")
        labels.faces.append(
            LabelledFace(
                name,
                {mark.name: (mark.x, mark.y) for mark in marks},
                source,
                size,
                by_group.get(skeleton.get("group_id", ""), boxes[0].box if len(skeletons) == len(boxes) == 1 else None),
                skeleton.get("label", ""),
                occluded={mark.name for mark in marks if mark.occluded},
            )
        )
    loose = [mark for element in image.findall("points") for mark in _marks(element)] if not label else []
    if loose:
        add_marked_faces(labels, name, size, source, loose, boxes, _HOW)
    kinds = Counter(shape.tag for shape in image)
    labels.notes["shapes that are neither skeletons, points nor boxes passed over"] += sum(
        count for tag, count in kinds.items() if tag not in ("skeleton", "points", "box", "tag")
    )
    labels.notes["pictures without points passed over"] += not kinds["skeleton"] and not kinds["points"]


def _marks(element: ET.Element) -> Iterator[Mark]:
    """Return the point of an element, or none if it is outside; several points are numbered."""
    if element.get("outside") in _TRUE:
        return
    label, occluded, group = element.get("label", ""), element.get("occluded") in _TRUE, element.get("group_id", "")
    pairs = [pair for pair in element.get("points", "").split(";") if pair]
    for number, pair in enumerate(pairs):
        try:
            x, y = map(float, pair.split(","))
        except ValueError:
            raise Fault(f"point '{label}' is '{pair}', expected x,y") from None
        yield Mark(label if len(pairs) == 1 else f"{label}_{number}", x, y, group, occluded)


def _box(box: ET.Element) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = (float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
    except ValueError:
        raise Fault("a box without four numbers, expected xtl, ytl, xbr, ybr") from None
    return x0, y0, x1, y1
