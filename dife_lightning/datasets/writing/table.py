"""A CSV file with one row a face, as the reader ``folder`` takes it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import by_picture, note_losses, number

FILE = "points.csv"


def write_csv(labels: Labels) -> dict[str, str]:
    """Return the text of the file: picture, name, group and subject of a face, x and y of each point, and the box."""
    note_losses(labels, "this form", occluded=True)
    names = labels.ordered_names()
    columns = [f"{name}_{axis}" for name in names for axis in "xy"]
    kin = ["subject"] if any(face.subject for face in labels.faces) else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "name", "group", *kin, *columns, "box_x0", "box_y0", "box_x1", "box_y1"])
    for image, faces in by_picture(labels).items():
        for k, face in enumerate(faces, 1):
            name = image if len(faces) == 1 else f"{image}#{face.instance or k}"
            writer.writerow([image, name, face.group, *([face.subject] if kin else []), *_cells(face, names)])
    return {FILE: text.getvalue()}


def _cells(face: LabelledFace, names: Sequence[str]) -> list[object]:
    points = [face.points.get(name) for name in names]
    box = [""] * 4 if face.box is None else map(number, face.box)
    return [*(cell for point in points for cell in (("", "") if point is None else map(number, point))), *box]
