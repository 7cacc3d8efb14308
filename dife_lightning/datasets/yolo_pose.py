"""YOLO-pose: the layout of Ultralytics."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dife_lightning.datasets.parsing.files import FaceFiles, as_list, choose, root_folder
from dife_lightning.datasets.parsing.labels import OTHER_FORM, LabelledFace, Labels, below, labelled_table
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.text import parse_numbers, read_lines, read_text
from dife_lightning.errors import DataError
from dife_lightning.faces.image_info import image_info_cache, shown_size
from dife_lightning.faces.images import SUFFIXES
from dife_lightning.utils.notes import some
from dife_lightning.utils.yaml_text import load_yaml

DATASET = "YoloPose"

_SPLITS = ("train", "val", "test")


class _Layout(NamedTuple):
    """What the YAML file says.

    Number of points, numbers a point (2 or 3), whether the points are named, their names in each class, pairs that a
    flip exchanges, and names of the classes.
    """

    points: int
    numbers: int
    named: bool
    names: dict[int, list[str]]
    mirror: list[tuple[str, str]] | None
    classes: dict[int, str]


class YoloPose(FaceFiles):
    """Pictures with labels of YOLO-pose; the scheme is ``kpt_names`` of the YAML file, if it has them.

    Numbers are relative to the size of the picture, so every picture's header is read. A point with v = 0 is not
    labelled. The group is the class.

    Args:
        root: folder of the YAML file.
        file: the YAML file.
        split: only ``train``, ``val`` or ``test``, one or a list; by default all.
        category: only these classes, by name, one or a list.
        scheme: landmark scheme, by name or as a YAML file; its points are found by their names, or, if the file has
            none, by their order. By default the scheme is the file's own names.
        skip_broken: skip faces that cannot be used; see ``left_out``.
        keep_zeros: keep labelled points at exactly (0, 0), which otherwise count as not labelled.
    """

    name = "yolo-pose"

    def __init__(
        self,
        root: str | Path,
        file: str = "data.yaml",
        split: str | Sequence[str] | None = None,
        category: str | Sequence[str] | None = None,
        scheme: GivenScheme = None,
        skip_broken: bool = False,
        keep_zeros: bool = False,
    ) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        path, splits, wanted = folder / file, as_list(split), [str(one) for one in as_list(category)]
        for one in splits:
            choose(self.name, "split", one, _SPLITS)
        content = _read_yaml(path)
        try:
            layout = _layout(path, content)
        except OTHER_FORM:
            raise DataError(
                f"{path}: another form, expected names, kpt_shape, kpt_names as Ultralytics has them."
            ) from None
        for one in wanted:
            choose(self.name, "category", one, layout.classes.values())
        labels.named, labels.mirror = layout.named, layout.mirror
        labels.names = list(dict.fromkeys(n for k, names in layout.names.items() for n in names
                                          if not wanted or layout.classes[k] in wanted))  # fmt: skip
        with image_info_cache():
            for picture in _pictures(path, content, splits or _SPLITS, labels):
                _add(labels, picture, folder, layout, wanted, faults)
        self.scheme, table = labelled_table(labels, folder, scheme, faults, keep_zeros=keep_zeros)
        facts = {"file": file, "split": splits, "category": wanted, "scheme": str(scheme or "")}
        super().__init__(table, faults, facts)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(read_text(path))
    except yaml.YAMLError:
        raise DataError(f"{path}: not YAML, expected the data file of a YOLO-pose data set.") from None
    if not isinstance(content, dict) or not any(content.get(split) for split in _SPLITS):
        raise DataError(f"{path}: no train, val or test, expected the data file of a YOLO-pose data set.")
    return content


def _layout(path: Path, content: Mapping[str, Any]) -> _Layout:
    shape = content.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3) or not isinstance(shape[0], int):
        raise DataError(f"{path}: kpt_shape is {shape}, expected [number of points, 2 or 3].")
    count, size = shape
    classes = content.get("names") or {0: "face"}
    classes = {int(k): str(name) for k, name in _numbered(classes).items()}
    given = content.get("kpt_names")
    listed = _numbered([given or range(count)] if not given or _is_flat(given) else given)
    names = {k: list(map(str, listed.get(k, next(iter(listed.values()))))) for k in classes}
    for one in names.values():
        if len(one) != count:
            raise DataError(f"{path}: {len(one)} names of points, kpt_shape says {count}.")
        if len(set(one)) != count:
            raise DataError(f"{path}: kpt_names has a name twice ({', '.join(one)}), expected one name a point.")
    flip = content.get("flip_idx")
    if flip and sorted(flip) != list(range(count)):
        raise DataError(f"{path}: flip_idx is {flip}, expected the numbers 0 to {count - 1}, each once.")
    pairs = [(k, other) for k, other in enumerate(flip or ()) if k < other]
    mirror = list(dict.fromkeys((one[k], one[other]) for one in names.values() for k, other in pairs))
    return _Layout(count, size, bool(given), names, mirror if flip else None, classes)


def _numbered(listed: Any) -> dict[int, Any]:
    return listed if isinstance(listed, dict) else dict(enumerate(listed))


def _is_flat(names: Any) -> bool:
    """Return whether names are those of all classes, not of each one."""
    return isinstance(names, list) and not isinstance(names[0], list)


def _pictures(path: Path, content: Mapping[str, Any], splits: Sequence[str], labels: Labels) -> list[Path]:
    """Return the pictures of some splits, which are folders, or text files that list pictures."""
    base = path.parent / str(content.get("path") or ".")
    if not base.is_dir():
        labels.notes[f"path {content['path']} is not here, the folder of {path.name} is taken, splits"] += len(splits)
        base = path.parent
    found: dict[Path, None] = {}
    missing: list[str] = []
    for entry in (entry for split in splits for entry in as_list(content.get(split))):
        place = _place(base, str(entry))
        if place.is_dir():
            found.update(dict.fromkeys(p for p in sorted(place.rglob("*")) if p.suffix.lower() in SUFFIXES))
            found.update(dict.fromkeys(_without_picture(place)))
        elif place.suffix == ".txt":
            found.update({base / text.removeprefix("./"): None for text in read_lines(place).texts})
        else:
            missing.append(str(place))
    if missing and not found:
        raise DataError(f"{path}: no folder and no list of pictures {missing[0]}; correct path, train, val or test.")
    if missing:
        labels.notes[f"splits passed over, since there is no {some(missing)}"] += len(missing)
    return list(found)


def _place(base: Path, entry: str) -> Path:
    """Return where an entry of the YAML file is; Roboflow writes ``../`` before what is beside the file."""
    inner = base / entry.removeprefix("../")
    return inner if not (base / entry).exists() and inner.exists() else base / entry


def _labels_of(picture: Path) -> Path:
    """Return the label file of a picture: the last folder 'images' of its path is 'labels'."""
    parts = list(picture.parent.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    place = Path(*parts, picture.name)
    return place.with_suffix(".txt")


def _without_picture(folder: Path) -> list[Path]:
    """Return, for each label file of a folder without its picture, where the picture was to be expected."""
    labels = _labels_of(folder / "x.jpg").parent
    if not labels.is_dir() or labels == folder:
        return []
    there = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    listed = [path.relative_to(labels) for path in sorted(labels.rglob("*.txt"))]
    return [folder / path.with_suffix(".jpg") for path in listed if path.with_suffix("") not in there]


def _add(labels: Labels, picture: Path, root: Path, layout: _Layout, wanted: Sequence[str], faults: Faults) -> None:
    file = _labels_of(picture)
    if not file.is_file():
        labels.notes["pictures without a label file passed over"] += 1
        return
    image = below(picture, root)
    size = _size(picture, faults.skip)
    for number, text in zip(*read_lines(file), strict=True):
        source = f"{os.path.relpath(file, root).replace(os.sep, '/')}, row {number}"
        with faults.at(f"{root}/{source}"):
            face = _face(text, layout, size or (1000, 1000))  # any size: such a picture is reported
            face.image, face.source, face.size = image, source, size or (0, 0)
            if not wanted or face.group in wanted:
                labels.faces.append(face)


def _size(picture: Path, skip: bool) -> tuple[int, int] | None:
    """Return width and height; None for a picture that is missing or to be skipped, which is reported later."""
    try:
        return shown_size(picture)
    except DataError:
        if skip or not picture.exists():
            return None
        raise


def _face(text: str, layout: _Layout, size: tuple[int, int]) -> LabelledFace:
    cells = text.split()
    numbers = parse_numbers(cells, 5 + layout.points * layout.numbers)
    kind, (x, y, width, height) = numbers[0], numbers[1:5]
    if kind not in layout.classes:
        raise Fault(f"class {cells[0]}, expected one of {', '.join(map(str, layout.classes))} (names in the YAML file)")
    face = LabelledFace("", {}, box=_scaled(x - width / 2, y - height / 2, size) + _scaled(
        x + width / 2, y + height / 2, size), group=layout.classes[int(kind)])  # fmt: skip
    for k, name in enumerate(layout.names[int(kind)]):
        u, v, *flag = numbers[5 + k * layout.numbers : 5 + (k + 1) * layout.numbers]
        if flag and flag[0] not in (0, 1, 2):
            raise Fault(f"visibility of point {k} is {flag[0]:g}, expected 0, 1 or 2")
        if not flag or flag[0] > 0:
            face.points[name] = _scaled(u, v, size)
            if flag == [1]:
                face.occluded.add(name)
    return face


def _scaled(x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    if not (math.isfinite(x) and math.isfinite(y)) or max(abs(x), abs(y)) > 10:
        raise Fault(f"({x:g}, {y:g}) found, expected numbers relative to the picture, from 0 to 1")
    return x * size[0], y * size[1]
