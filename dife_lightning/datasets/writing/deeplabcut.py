"""DeepLabCut: a CSV file of labels in each folder of ``labeled-data``."""

from __future__ import annotations

import csv
import io

from dife_lightning.datasets.parsing.labels import LabelledFace, Labels
from dife_lightning.datasets.writing.places import by_picture, note_losses, number

_SCORER = "dife"


def place_deeplabcut(image: str) -> str:
    """Return where a picture goes: DeepLabCut knows one level of folders."""
    parent, _, name = image.rpartition("/")
    return f"labeled-data/{parent.removeprefix('labeled-data/').replace('/', '_') or 'pictures'}/{name}"


def write_deeplabcut(labels: Labels) -> dict[str, str]:
    """Return the text of each folder's file; with several faces in a picture, of a multi-animal project."""
    note_losses(labels, "DeepLabCut", box=True, group=True, occluded=True)
    folders: dict[str, dict[str, list[LabelledFace]]] = {}
    pictures = by_picture(labels)
    for image, faces in pictures.items():
        folders.setdefault(image.rpartition("/")[0], {})[image] = faces
    most, names = max(map(len, pictures.values())), labels.ordered_names()
    return {f"{folder}/CollectedData_{_SCORER}.csv": _text(content, names, most) for folder, content in folders.items()}


def _text(content: dict[str, list[LabelledFace]], names: list[str], most: int) -> str:
    people = [f"face{k + 1}" for k in range(most)]
    rows: list[list[object]] = [
        ["scorer", *[_SCORER] * (2 * most * len(names))],
        ["individuals", *(person for person in people for _ in names for _ in "xy")],
        ["bodyparts", *(name for _ in people for name in names for _ in "xy")],
        ["coords", *["x", "y"] * (most * len(names))],
    ]
    if most == 1:
        del rows[1]
    for image, faces in content.items():
        points = [face.points.get(name) for face in faces for name in names]
        points += [None] * (most * len(names) - len(points))
        rows.append(
            [image, *(cell for point in points for cell in (("", "") if point is None else map(number, point)))]
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
