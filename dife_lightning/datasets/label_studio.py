"""Label Studio: a JSON export."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dife_lightning.datasets.parsing.files import FaceFiles, only_file, root_folder
from dife_lightning.datasets.parsing.labels import Labels, below, expecting, labelled_table
from dife_lightning.datasets.parsing.marks import Mark, MarkedBox, add_marked_faces, points_and_boxes
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.text import read_json
from dife_lightning.errors import DataError
from dife_lightning.faces.images import SUFFIXES

DATASET = "LabelStudio"

_HOW = "make the points regions inside the face's rectangle (parent region) in Label Studio"
#: Where Label Studio keeps uploads, and the digits that it puts before their names.
_UPLOAD = re.compile(r"^/data/upload/\d+/")
_DIGITS = re.compile(r"^[0-9a-f]{8}-(?=.)")
#: Types of results that are passed over in silence: they draw nothing, or another result has their label, too.
_UNDRAWN = ("choices", "relation", "textarea", "rating", "keypoint", "rectangle")


class LabelStudio(FaceFiles):
    """Pictures labelled in Label Studio with KeyPointLabels; the scheme is their labels.

    Both JSON exports are read, ``JSON`` and ``JSON-MIN``. A rectangle is the box of the face, its label the group; a
    point belongs to the rectangle that is its parent region. Of several annotations of a picture the first one is
    taken, and cancelled ones are passed over.

    Args:
        root: folder of the pictures and of the export.
        file: the export; by default the only JSON file of the root.
        scheme: landmark scheme, by name or as a YAML file; by default the labels themselves.
        annotator: only annotations of this user, by the number in ``completed_by`` or the e-mail address.
        predictions: read the predictions of pictures that nobody has annotated, too.
        images: folder of the pictures; by default ``root`` itself.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "label-studio"

    def __init__(
        self,
        root: str | Path,
        file: str = "",
        scheme: GivenScheme = None,
        annotator: str | int = "",
        predictions: bool = False,
        images: str = "",
        skip_broken: bool = False,
    ) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        path = folder / file if file else only_file(folder, "*.json", "export of Label Studio")
        tasks = read_json(path, faults.say)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise DataError(f"{path}: expected a list of tasks, as Label Studio exports them (JSON or JSON-MIN).")
        for number, task in enumerate(tasks):
            source = f"{below(path, folder)}, task {task.get('id', number)}"
            with faults.at(f"{folder}/{source}"), expecting("data and annotations with a list 'result'"):
                _add(labels, task, source, str(annotator), predictions)
        _without_digits(labels, folder / images)
        self.scheme, table = labelled_table(labels, folder, scheme, faults, images)
        facts = {"file": file, "scheme": str(scheme or ""), "annotator": str(annotator), "predictions": predictions}
        super().__init__(table, faults, facts)


def _add(labels: Labels, task: Mapping[str, Any], source: str, annotator: str, predictions: bool) -> None:
    results = _results(task, labels.notes, annotator, predictions)
    parents = {r["from_id"]: r["to_id"] for r in results if r.get("type") == "relation"}
    drawn = [_mark(result, parents) for result in results if result.get("type") not in _UNDRAWN]
    size = drawn[-1][0] if drawn else (0, 0)
    marks, boxes, others = points_and_boxes(mark for _, mark in drawn)
    labels.notes["regions that are neither key points nor rectangles passed over"] += others
    labels.notes["pictures without points passed over"] += not marks
    if marks:
        known = {box.instance for box in boxes}  # a parent may be a region of another kind
        marks = [mark if mark.instance in known else mark._replace(instance="") for mark in marks]
        add_marked_faces(labels, _picture(task), size, source, marks, boxes, _HOW)


def _results(task: Mapping[str, Any], notes: Counter[str], annotator: str, predictions: bool) -> list[dict[str, Any]]:
    """Return the regions of a task: those of one annotation, or the lists of JSON-MIN in that form."""
    if not isinstance(task.get("annotations", task.get("completions")), list):
        return list(_of_min(task))
    given = task.get("annotations", task.get("completions"))
    usable = [one for one in given or () if not one.get("was_cancelled") and _by(one, annotator)]
    notes["cancelled annotations passed over"] += sum(bool(one.get("was_cancelled")) for one in given or ())
    notes["pictures annotated several times, of which the first annotation is taken (choose with --annotator)"] += (
        len(usable) > 1
    )
    if not usable:
        usable = task.get("predictions") or [] if predictions else []
        notes["pictures with predictions alone passed over (--predictions true)"] += bool(task.get("predictions")) and (
            not predictions
        )
    return list(usable[0].get("result") or []) if usable else []


def _by(annotation: Mapping[str, Any], annotator: str) -> bool:
    user = annotation.get("completed_by")
    known = (user.get("id"), user.get("email")) if isinstance(user, dict) else (user,)
    return not annotator or annotator in map(str, known)


def _of_min(task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in task.values():
        for value in values if isinstance(values, list) else ():
            for kind in ("keypointlabels", "rectanglelabels"):
                if isinstance(value, dict) and kind in value:
                    yield {**value, "type": kind, "value": value}


def _mark(result: Mapping[str, Any], parents: Mapping[str, str]) -> tuple[tuple[int, int], Mark | MarkedBox | None]:
    """Return the picture's size, and the point or box of a region, or None for another region."""
    kind = result.get("type")
    if kind == "labels":  # of a region that <KeyPoint> or <Rectangle> drew
        value = result.get("value") or {}
        kind = "rectanglelabels" if "height" in value else "keypointlabels"
        result = {**result, "value": {**value, kind: value.get("labels")}}
    try:
        size = int(result["original_width"]), int(result["original_height"])
        if kind not in ("keypointlabels", "rectanglelabels"):
            return size, None
        if result.get("image_rotation"):
            raise Fault(f"the picture is turned by {result['image_rotation']} degrees in Label Studio, expected 0")
        value, number = result["value"], str(result.get("id", ""))
        x, y = value["x"] / 100 * size[0], value["y"] / 100 * size[1]
        (label,) = value[kind]
        if kind == "keypointlabels":
            parent = result.get("parentID") or parents.get(number) or ""
            return size, Mark(str(label), x, y, parent)
        corner = x + value["width"] / 100 * size[0], y + value["height"] / 100 * size[1]
        return size, MarkedBox((x, y, *corner), str(label), number)
    except (KeyError, TypeError, ValueError):
        raise Fault(
            f"a region of type {kind} has another form, expected original_width, original_height and one label"
        ) from None


def _picture(task: Mapping[str, Any]) -> str:
    """Return the path of a task's picture, from a path, a URL, or a link to local files."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = [str(value) for value in data.values() if isinstance(value, str)]
    known = [data[key] for key in ("image", "img") if isinstance(data.get(key), str)]
    found = (known or [text for text in texts if _is_picture(text)] or texts or [""])[0].replace("\\", "/")
    parts = urlsplit(found)
    local = parse_qs(parts.query).get("d", [])
    path = local[0] if local else parts.path if parts.scheme or found.startswith("/data/") else found
    if not path:
        raise Fault("no picture, expected a path or an address in 'data'")
    return unquote(_UPLOAD.sub("", path)).lstrip("/")


def _is_picture(text: str) -> bool:
    return urlsplit(text).path.lower().endswith(SUFFIXES) or text.lower().endswith(SUFFIXES)


def _without_digits(labels: Labels, folder: Path) -> None:
    """Take away the digits that Label Studio puts before the names of uploads, where only the plain name is there."""
    images = list(dict.fromkeys(face.image for face in labels.faces if _DIGITS.search(face.image)))
    plain = {image: _DIGITS.sub("", image) for image in images}
    there, others = find_pictures(folder, images, search=True), find_pictures(folder, plain.values(), search=True)
    for face in labels.faces:
        if face.image in plain and not there[face.image] and len(others[plain[face.image]]) == 1:
            face.image = plain[face.image]
            labels.notes["names of pictures without the digits that Label Studio puts before uploads"] += 1
