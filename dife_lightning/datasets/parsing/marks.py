"""Loose points and rectangles that a tool draws on a picture, put together to faces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dife_lightning.datasets.parsing.labels import Box, LabelledFace, Labels
from dife_lightning.datasets.parsing.table import Fault


class Mark(NamedTuple):
    """A point of a tool that draws loose points; ``instance`` is what the tool groups them by, if it does."""

    name: str
    x: float
    y: float
    instance: str = ""
    occluded: bool = False


class MarkedBox(NamedTuple):
    """A rectangle of such a tool."""

    box: Box
    group: str = ""
    instance: str = ""


def points_and_boxes(found: Iterable[Mark | MarkedBox | None]) -> tuple[list[Mark], list[MarkedBox], int]:
    """Return the points, the rectangles, and the number of other shapes (None)."""
    shapes = list(found)
    marks = [shape for shape in shapes if isinstance(shape, Mark)]
    boxes = [shape for shape in shapes if isinstance(shape, MarkedBox)]
    return marks, boxes, len(shapes) - len(marks) - len(boxes)


def faces_of_marks(
    marks: Sequence[Mark], boxes: Sequence[MarkedBox], how: str, notes: Counter[str]
) -> list[tuple[str, list[Mark], MarkedBox | None]]:
    """Return instance, points and box of each face of one picture.

    Points of one instance are a face. Without instances all points are one face, or, with several boxes, those in each
    box.

    Args:
        marks: the picture's points.
        boxes: its rectangles.
        how: what the user must do to tell faces apart, for messages.
        notes: counts points that were given to the box they lie in.

    Raises:
        Fault: a name is there twice in a face, or it is not clear which face a point belongs to.
    """
    if len(boxes) > 1 and not any(mark.instance for mark in marks):
        marks = [mark._replace(instance=str(_box_around(mark, boxes, how))) for mark in marks]
        boxes = [box._replace(instance=str(number)) for number, box in enumerate(boxes)]
        notes[f"points given to the box they lie in (to state it, {how})"] += len(marks)
    groups: dict[str, list[Mark]] = {}
    for mark in marks:
        groups.setdefault(mark.instance, []).append(mark)
    if "" in groups and len(groups) > 1:
        raise Fault(f"{len(groups[''])} points belong to no face, {len(groups) - 1} faces are there; {how}")
    for group in groups.values():
        check_once(group, how)
    only = boxes[0] if len(boxes) == len(groups) == 1 else None
    by_instance = {box.instance: box for box in boxes if box.instance}
    return [(instance, group, by_instance.get(instance, only)) for instance, group in groups.items()]


def _box_around(mark: Mark, boxes: Sequence[MarkedBox], how: str) -> int:
    """Return the number of the only box that holds a point."""
    inside = [
        number for number, ((x0, y0, x1, y1), _, _) in enumerate(boxes) if x0 <= mark.x <= x1 and y0 <= mark.y <= y1
    ]
    if len(inside) != 1:
        raise Fault(f"point '{mark.name}' lies in {len(inside)} of {len(boxes)} boxes, expected one; {how}")
    return inside[0]


def check_once(marks: Iterable[Mark], how: str) -> None:
    """Raise Fault if a name is there twice in a face; ``how`` says what the user must do."""
    counts = Counter(mark.name for mark in marks)
    for name, count in counts.items():
        if count > 1:
            raise Fault(f"point '{name}' is there {count} times, expected once in a face; {how}")


def add_marked_faces(
    labels: Labels,
    image: str,
    size: tuple[int, int],
    source: str,
    marks: Sequence[Mark],
    boxes: Sequence[MarkedBox],
    how: str,
) -> None:
    """Add the faces of one picture whose points are loose; see :func:`faces_of_marks`."""
    for instance, group, box in faces_of_marks(marks, boxes, how, labels.notes):
        labels.faces.append(
            LabelledFace(
                image,
                {mark.name: (mark.x, mark.y) for mark in group},
                source,
                size,
                None if box is None else box.box,
                "" if box is None else box.group,
                instance,
                {mark.name for mark in group if mark.occluded},
            )
        )
