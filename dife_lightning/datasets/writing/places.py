"""What the writers of several forms share: numbers, boxes, and where pictures go."""

from __future__ import annotations

from collections import Counter

from dife_lightning.datasets.parsing.labels import Box, LabelledFace, Labels

#: Name of a face's category where the data set has none.
FACE = "face"


def number(value: float) -> float | int:
    """Return a number of pixels to a ten-thousandth."""
    rounded = round(float(value), 4)
    return int(rounded) if rounded == int(rounded) else rounded


def category(face: LabelledFace) -> str:
    """Return the group of a face, ``face`` if it has none."""
    return face.group or FACE


def extent_or_box(face: LabelledFace, notes: Counter[str]) -> Box:
    """Return the box of a face, or the extent of its points, which ``notes`` counts."""
    if face.box is not None:
        return face.box
    notes["faces without a box, for which the extent of their points is written"] += 1
    xs, ys = zip(*face.points.values(), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def by_picture(labels: Labels) -> dict[str, list[LabelledFace]]:
    """Return the faces of each picture, in the data set's order."""
    found: dict[str, list[LabelledFace]] = {}
    for face in labels.faces:
        found.setdefault(face.image, []).append(face)
    return found


def note_losses(labels: Labels, form: str, box: bool = False, group: bool = False, occluded: bool = False) -> None:
    """Count what a form that has no boxes, groups or flags for occluded points cannot hold."""
    lost = {
        "boxes": sum(face.box is not None for face in labels.faces) if box else 0,
        "groups": sum(bool(face.group) for face in labels.faces) if group else 0,
        "flags of occluded points": sum(len(face.occluded) for face in labels.faces) if occluded else 0,
    }
    for what, count in lost.items():
        labels.notes[f"{what} not written, since {form} has no place for them"] += count
