"""VGG Image Annotator (VIA 2): CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dife_lightning.datasets.parsing.csv_files import read_csv
from dife_lightning.datasets.parsing.files import FaceFiles, root_folder
from dife_lightning.datasets.parsing.labels import OTHER_FORM, Labels, below, labelled_table
from dife_lightning.datasets.parsing.marks import Mark, MarkedBox, add_marked_faces
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.text import read_json
from dife_lightning.datasets.parsing.turned import PointsOf
from dife_lightning.errors import ConfigError, DataError, MissingDataError, did_you_mean

DATASET = "Via"

_COLUMNS = ("region_shape_attributes", "region_attributes")
#: The column of the picture, as VIA 2 and VIA 1 call it.
_PICTURE = ("filename", "#filename")
#: Usual names of the attribute that names a point.
_USUAL = ("landmark", "keypoint", "point", "name", "label", "part", "type")


class _Region(NamedTuple):
    """One region: the picture, its shape and its attributes."""

    image: str
    shape: Mapping[str, Any]
    attributes: Mapping[str, Any]


class Via(FaceFiles):
    """Pictures labelled in VIA 2 with points, exported as CSV or JSON, or the saved project.

    A region attribute names the point; the names are the scheme. A rectangle is the box of the face. Other shapes are
    passed over and counted.

    Args:
        root: folder of the pictures and of the export.
        file: CSV or JSON; by default the only file of the root that is one.
        attribute: region attribute that names the point; needed if there are several and none has a usual name such as
            ``landmark`` or ``name``.
        face: region attribute that tells the faces of a picture apart; needed if a picture has several.
        scheme: landmark scheme, by name or as a YAML file; by default the names themselves.
        images: folder of the pictures; by default ``root`` itself.
        skip_broken: skip faces that cannot be used; see ``left_out``.
        points_of: which picture the points are of, where its EXIF header turns it: ``shown`` (as viewers show it, the
            default) or ``stored``.
    """

    name = "via"

    def __init__(
        self,
        root: str | Path,
        file: str = "",
        attribute: str = "",
        face: str = "",
        scheme: GivenScheme = None,
        images: str = "",
        skip_broken: bool = False,
        points_of: PointsOf = "auto",
    ) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        path = folder / file if file else _only(folder)
        regions = _of_csv(path, faults) if path.suffix.lower() == ".csv" else _of_json(path, faults)
        used = attribute or _naming(path, [r for r in regions if r.shape.get("name") == "point"])
        by_image: dict[str, list[_Region]] = {}
        for region in regions:
            by_image.setdefault(region.image, []).append(region)
        for image, group in by_image.items():
            source = f"{below(path, folder)}, picture {image}"
            with faults.at(f"{folder}/{source}"):
                _add(labels, image, source, group, used, face)
        self.scheme, table = labelled_table(labels, folder, scheme, faults, images)
        facts = {"file": file, "attribute": used, "face": face, "scheme": str(scheme or "")}
        super().__init__(table, faults, facts, points_of)


def _only(folder: Path) -> Path:
    paths = sorted(path for pattern in ("*.csv", "*.json") for path in folder.glob(pattern))
    if not paths:
        raise MissingDataError(f"no export of VIA (*.csv, *.json) in {folder}; give it with --file.")
    if len(paths) > 1:
        raise DataError(f"{folder} has {len(paths)} CSV and JSON files, expected one; choose one with --file.")
    return paths[0]


def _of_csv(path: Path, faults: Faults) -> list[_Region]:
    content = read_csv(path, _COLUMNS, faults.say)
    picture = next((name for name in _PICTURE if name in content.columns), None)
    if picture is None:
        raise DataError(f"{path}: no column 'filename'. {did_you_mean('filename', content.columns)}")
    places = [content.columns.index(name) for name in (picture, *_COLUMNS)]
    found = []
    for number, cells in content.rows:
        try:
            image, shape, attributes = (cells[place] for place in places)
            found.append(_region(image, json.loads(shape or "{}"), json.loads(attributes or "{}")))
        except OTHER_FORM:
            raise DataError(
                f"{path}, row {number}: another form, expected the columns of VIA 2's CSV export."
            ) from None
    return found


def _of_json(path: Path, faults: Faults) -> list[_Region]:
    """Return the regions of an export, or of a saved project, in which the same entries are one level deeper."""
    content = read_json(path, faults.say)
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else {}
    if isinstance(entries, dict) and {"metadata", "file"} <= entries.keys():
        raise DataError(
            f"{path} is of VIA 3, expected VIA 2; export its points as COCO and read them as coco-keypoints."
        )
    if not isinstance(entries, dict):
        raise DataError(f"{path}: another form, expected VIA 2's entries by name.")
    return [region for entry in entries.values() for region in _of_entry(path, entry)]


def _region(image: str, shape: Any, attributes: Any) -> _Region:
    """Return a region; TypeError for another form."""
    if not isinstance(shape, dict) or not isinstance(attributes, dict):
        raise TypeError("no mapping")
    return _Region(image, shape, attributes)


def _of_entry(path: Path, entry: Any) -> Iterator[_Region]:
    try:
        image, regions = str(entry["filename"]), entry["regions"]
        listed = regions.values() if isinstance(regions, dict) else regions  # VIA 1 numbers them
        yield from [_region(image, r["shape_attributes"], r.get("region_attributes") or {}) for r in listed] or [
            _Region(image, {}, {})
        ]
    except OTHER_FORM:
        raise DataError(f"{path}: another form, expected VIA 2's entries with filename and regions.") from None


def _naming(path: Path, points: list[_Region]) -> str:
    """Return the attribute that names the points: the only one, or the only one of a usual name."""
    keys = list(dict.fromkeys(key for point in points for key in point.attributes))
    usual = [key for key in keys if key.lower() in _USUAL]
    if len(keys) != 1 and len(usual) != 1 and points:
        raise ConfigError(f"{path}: which region attribute names the point? Give --attribute. {did_you_mean('', keys)}")
    return (keys if len(keys) == 1 else usual or [""])[0]


def _add(labels: Labels, image: str, source: str, regions: list[_Region], attribute: str, face: str) -> None:
    marks, boxes = [], []
    for _, shape, attributes in regions:
        instance, kind = str(attributes.get(face, "")) if face else "", shape.get("name")
        try:
            if kind == "point":
                marks.append(Mark(_name(attributes, attribute), float(shape["cx"]), float(shape["cy"]), instance))
            elif kind == "rect":
                x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
                boxes.append(MarkedBox((x, y, x + width, y + height), "", instance))
            elif kind:
                labels.notes["shapes that are neither points nor rectangles passed over"] += 1
        except (KeyError, TypeError, ValueError):
            raise Fault(
                f"a region of type {kind} has another form, expected cx and cy, or x, y, width, height"
            ) from None
    labels.notes["pictures without points passed over"] += not marks
    how = "name the region attribute that tells the faces apart with --face"
    add_marked_faces(labels, image, (0, 0), source, marks, boxes, how)


def _name(attributes: Mapping[str, Any], attribute: str) -> str:
    """Return the name of a point; a checkbox has its values as keys."""
    value = attributes.get(attribute)
    names = [key for key, on in value.items() if on] if isinstance(value, dict) else [value]
    if len(names) != 1 or names[0] in (None, ""):
        raise Fault(f"a point without '{attribute}', expected its name there")
    return str(names[0])
