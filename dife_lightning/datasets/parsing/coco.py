"""The faces of a COCO keypoint file: those of some categories, with the points of a scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.coco_files import CocoFile, Entry, check_entry, common_length, id_of, triples
from dife_lightning.datasets.parsing.coco_files import read_coco as read_coco
from dife_lightning.datasets.parsing.columns import find_subject
from dife_lightning.datasets.parsing.own_points import (
    GivenScheme,
    in_order,
    match_names,
    settle_scheme,
    without_zeros,
)
from dife_lightning.datasets.parsing.table import FaceTable, Faults
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.own_schemes import find_scheme
from dife_lightning.faces.schemes import Scheme
from dife_lightning.utils.notes import many


@dataclass(frozen=True)
class _Kind:
    """Annotations that have the same points: their number in the file, and the place of each of the scheme's."""

    count: int
    order: Sequence[int]


def choose_faces(
    coco: CocoFile,
    folder: Path,
    dataset: str,
    given: GivenScheme,
    faults: Faults,
    categories: Iterable[str | int],
    needed: Iterable[str | int],
    *,
    keep_zeros: bool = True,
    search: bool = False,
) -> tuple[Scheme, FaceTable]:
    """Return the faces of some categories in which all needed points are labelled, and their scheme.

    A point is visible if its flag v is above 0, whether it is hidden in the picture or not. Points are put in the
    scheme's order by name, if the file names them. Annotations without key points have no visible point.

    Args:
        coco: the file.
        folder: of the pictures.
        dataset: named in messages.
        given: the scheme; None for the points of the file.
        faults: reported so far.
        categories: names or ids, none for all.
        needed: names or numbers of points.
        keep_zeros: whether points at (0, 0) and (-1, -1) with a flag above 0 are labelled.
        search: whether pictures may lie elsewhere below ``folder``.

    Raises:
        ConfigError: a category or point that does not exist, or categories with different points and no scheme.
        DataError: the file has other points than the scheme.
    """
    wanted = _category_ids(coco, dataset, categories)
    chosen = [(k, e) for k, e in enumerate(coco.annotations) if not wanted or id_of(e.get("category_id")) in wanted]
    scheme, kinds = _kinds(coco, dataset, given, [entry for _, entry in chosen], faults)
    sound, values = [], []
    for number, entry in chosen:
        kind = kinds.get(coco.category(entry).keypoints)
        if kind is None:
            continue
        with faults.at(f"{coco.path}, annotation {entry.get('id', number)}"):
            check_entry(entry, coco)
            values.append(in_order(triples(entry.get("keypoints"), kind.count), kind.order, 0))
            sound.append(entry)
    points = np.array(values, np.float64).reshape(len(sound), len(scheme.landmarks), 3)
    odd = int(np.sum((points[..., 2] > 0) & ~np.isin(points[..., 2], (1, 2))))
    if odd:
        faults.say(f"{many(odd, 'point')} with a visibility v other than 0, 1 and 2 (a score?): taken as labelled")
    visible = without_zeros(points[..., :2], points[..., 2] > 0, keep_zeros, faults)
    table = _table(coco, folder, sound, points, visible, search)
    names = next((kind for kind in kinds if kind), ())
    return scheme, table.where(np.all(visible[:, _point_numbers(scheme, names, dataset, needed)], axis=-1))


def _kinds(
    coco: CocoFile, dataset: str, given: GivenScheme, entries: Sequence[Entry], faults: Faults
) -> tuple[Scheme, dict[tuple[str, ...], _Kind]]:
    """Return the scheme, and how the points of each kind of annotation become its points, by the kind's names."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(coco.category(entry).keypoints, []).append(entry)
    labelled = {names: group for names, group in groups.items() if common_length(group)}
    if not labelled:
        names = next(iter(groups), ())
        scheme = (find_scheme(given, names or None) if given else None) or _named(coco, names, given, faults)
        return scheme, dict.fromkeys(groups, _Kind(len(scheme.landmarks), range(len(scheme.landmarks))))
    if len(labelled) > 1 and not given:
        told = ", ".join(f"{coco.category(group[0]).name} ({len(names)})" for names, group in labelled.items())
        raise ConfigError(f"{dataset}: the categories of {coco.path.name} have different points: {told}. "
                          "Choose one with --category NAME.")  # fmt: skip
    kinds: dict[tuple[str, ...], _Kind] = {}
    found: Scheme | None = None
    errors: dict[tuple[str, ...], DataError] = {}
    for names, group in labelled.items():
        try:
            found, kinds[names] = _kind(coco, given, names, group, faults)
        except DataError as error:
            errors[names] = error
    if found is None:
        raise next(iter(errors.values()))
    for names in errors:
        name = coco.category(labelled[names][0]).name
        faults.say(f"{many(len(labelled[names]), 'annotation')} of category '{name}' with other points than scheme "
                   f"'{found.name}': passed over")  # fmt: skip
    rest = {
        names: _Kind(len(found.landmarks), range(len(found.landmarks))) for names in groups if names not in labelled
    }
    return found, kinds | rest


def _kind(
    coco: CocoFile, given: GivenScheme, names: tuple[str, ...], group: Sequence[Entry], faults: Faults
) -> tuple[Scheme, _Kind]:
    length = common_length(group)
    known = find_scheme(given, names or None) if given else None
    expected = len(names) or (len(known.landmarks) if known else 0)
    count = expected if length in (2 * expected, 3 * expected) else length // (3 if length % 3 == 0 else 2)
    if length == 2 * count:
        _check_pairs(coco, group, length, count)
        faults.say(f"the annotations of {coco.path.name} are x, y without visibility: all are taken as labelled")
    if names and count != len(names):
        name = coco.category(group[0]).name
        faults.say(f"category '{name}' names {len(names)} points, its annotations have {count}: names are not used")
        names = ()
    scheme, order = settle_scheme(coco.path, given, names, count, faults)
    return scheme, _Kind(count, order)


def _check_pairs(coco: CocoFile, group: Sequence[Entry], length: int, count: int) -> None:
    """Raise DataError if values that would be x, y of ``count`` points look like x, y, v of fewer."""
    values = [entry.get("keypoints") for entry in group]
    flags = [flag for one in values if isinstance(one, list) and len(one) == length for flag in one[2::3]]
    if length % 3 == 0 and flags and all(flag in (0, 1, 2) for flag in flags):
        raise DataError(
            f"{coco.path}: the annotations have {length} values, which look like x, y, v of {length // 3} points, but "
            f"{count} points are named. Correct the names in 'categories', or the scheme."
        )


def _named(coco: CocoFile, names: tuple[str, ...], given: GivenScheme, faults: Faults) -> Scheme:
    return settle_scheme(coco.path, given, names, len(names), faults)[0]


def _category_ids(coco: CocoFile, dataset: str, wanted: Iterable[str | int]) -> set[str]:
    by_name = {category.name.lower(): key for key, category in coco.categories.items()}
    ids = set()
    for one in wanted:
        key = by_name.get(str(one).lower(), str(one)) if isinstance(one, str) else str(one)
        if key not in coco.categories:
            known = [f"{category.name} ({number})" for number, category in coco.categories.items()]
            raise ConfigError(f"{dataset}: unknown species or category '{one}'. {did_you_mean(str(one), known)}")
        ids.add(key)
    return ids


def _point_numbers(scheme: Scheme, names: Sequence[str], dataset: str, needed: Iterable[str | int]) -> list[int]:
    """Return the numbers of points given by number, by the scheme's name or by the file's."""
    count = len(scheme.landmarks)
    places: dict[str, int] = {
        names[place]: k for k, place in enumerate(match_names(scheme, names)) if place is not None
    }
    places |= {name: k for k, name in enumerate(scheme.landmarks)}
    numbers = []
    for one in needed:
        place = places.get(one, -1) if isinstance(one, str) else one
        if not 0 <= place < count:
            hint = did_you_mean(str(one), scheme.landmarks)
            raise ConfigError(f"{dataset}: unknown point '{one}' (0 to {count - 1}). {hint}")
        numbers.append(place)
    return numbers


def _table(
    coco: CocoFile,
    folder: Path,
    entries: Sequence[Entry],
    points: NDArray[np.float64],
    visible: NDArray[np.bool_],
    search: bool,
) -> FaceTable:
    pictures = [coco.images[id_of(entry["image_id"]) or ""] for entry in entries]
    keys = [entry["id"] for entry in entries]
    images = [str(picture["file_name"]).replace("\\", "/") for picture in pictures]
    return FaceTable(
        coco.path,
        keys,
        folder,
        images,
        np.where(visible[..., None], points[..., :2], 0),
        count=points.shape[1],
        label=", annotation ",
        names=[f"{image}#{key}" for image, key in zip(images, keys, strict=True)],
        visible=visible,
        occluded=visible & (points[..., 2] == 1),
        boxes=_corners(entries),
        groups=[coco.category(entry).name for entry in entries],
        subjects=[_subject(entry) for entry in entries],
        sizes=[[_size(picture, "width"), _size(picture, "height")] for picture in pictures],
        search=search,
    )


def _subject(entry: Entry) -> str:
    """Return the animal or person of an annotation, from a field or, as CVAT writes it, an attribute of such a name."""
    attributes = entry.get("attributes")
    fields = {**(attributes if isinstance(attributes, dict) else {}), **entry}
    value = fields.get(find_subject(fields) or "")
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _corners(entries: Sequence[Entry]) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 of the boxes, given as x, y, width, height; NaN if there is none, or without an area."""
    boxes = np.array([entry.get("bbox") or [np.nan] * 4 for entry in entries], dtype=np.float64).reshape(-1, 4)
    boxes[~(boxes[:, 2:] > 0).all(axis=1)] = np.nan  # without an area
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _size(picture: Mapping[str, object], side: str) -> int:
    try:
        return int(float(str(picture.get(side))))
    except (OverflowError, ValueError):  # also for null
        return 0
