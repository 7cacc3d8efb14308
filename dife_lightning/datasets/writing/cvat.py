"""CVAT: the XML file of 'CVAT for images 1.1' with skeletons."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import by_picture, category, note_losses, number

FILE = "annotations.xml"


def write_cvat(labels: Labels) -> dict[str, str]:
    """Return the text of the file. A face is a skeleton; points that are not labelled are 'outside'."""
    note_losses(labels, "a skeleton of CVAT", box=True)
    names, root = labels.ordered_names(), ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    _add_labels(root, names, list(dict.fromkeys(map(category, labels.faces))))
    for k, (image, faces) in enumerate(by_picture(labels).items()):
        width, height = map(str, faces[0].size)
        name = image.removeprefix("images/")
        picture = ET.SubElement(root, "image", id=str(k), name=name, width=width, height=height)
        for face in faces:
            _add_skeleton(picture, face, names)
    ET.indent(root)
    return {FILE: ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"}


def _add_labels(root: ET.Element, names: list[str], groups: list[str]) -> None:
    """State the labels, from which the order of the points is read."""
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    for group in groups:
        for name, kind, parent in [(group, "skeleton", ""), *((name, "points", group) for name in names)]:
            label = ET.SubElement(labels, "label")
            ET.SubElement(label, "name").text = name
            ET.SubElement(label, "type").text = kind
            if parent:
                ET.SubElement(label, "parent").text = parent


def _add_skeleton(picture: ET.Element, face: LabelledFace, names: list[str]) -> None:
    skeleton = ET.SubElement(picture, "skeleton", label=category(face), source="manual", z_order="0")
    inside = next(iter(face.points.values()))
    for name in names:
        x, y = face.points.get(name, inside)
        ET.SubElement(
            skeleton,
            "points",
            label=name,
            source="manual",
            outside=str(int(name not in face.points)),
            occluded=str(int(name in face.occluded)),
            points=f"{number(x)},{number(y)}",
        )
