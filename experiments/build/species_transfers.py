"""The last step of `new_species`: transfer landmarks from human faces to photos of the new species."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceItem
from dife_lightning.geometry.crops import Square
from dife_lightning.utils.files import atomic_write
from dife_lightning.utils.run_folder import TEST_METRICS
from experiments.common.claims import CLAIM_LIST, CLAIM_PROTOCOL, ROW_KEYS, Row

if TYPE_CHECKING:
    from dife_lightning.data.photos.folder_check import FolderReport
    from dife_lightning.methods._base import MatcherModule

#: Pairs in ``transfers.png``; scored pairs of a species of the world, and with ``--fast``.
DRAWN, SCORED, FAST_SCORED = 8, 200, 4


def usable_photos(report: FolderReport, count: int) -> list[Path]:
    """Return at most ``count`` photos, evenly spread over those that are neither damaged, blank nor duplicates."""
    from dife_lightning.faces.images import list_images

    harmful = {*report.damaged, *report.blank, *(path for group in report.duplicates for path in group[1:])}
    sound = [path for path in list_images(report.folder) if path not in harmful]
    return [sound[i] for i in np.linspace(0, len(sound) - 1, min(count, len(sound))).round().astype(int)]


def draw_photos(
    options: argparse.Namespace, method: MatcherModule, report: FolderReport, human: tuple[FaceItem, list[str]] | None
) -> None:
    """Transfer points to photos; writes ``transfers.png``, and ``transfers.csv`` in pixels of the photos.

    Args:
        options: options of the command.
        method: the trained DIFE.
        report: report on the folder of photos.
        human: the user's own face with the names of its points; None takes human faces of the world.
    """
    from dife_lightning.faces.images import center_square, read_image
    from dife_lightning.faces.schemes import get_protocol
    from dife_lightning.viz.sheet import save_figure
    from dife_lightning.viz.transfer import TransferExample, transfer_sheet
    from dife_lightning.world import WorldFaces

    paths, size = usable_photos(report, DRAWN), method.size
    photos = [read_image(path) for path in paths]
    if human is None:
        faces, names = list(WorldFaces("human", "test", len(paths), size=size)), list(get_protocol("9-point").landmarks)
    else:
        faces, names = [human[0]] * len(paths), human[1]
    examples, own = [], []
    for face, path, photo in zip(faces, paths, photos, strict=True):
        square = center_square(photo, size)
        points = method.transfer((face["image"], square), face["points"]).numpy()
        unknown, label = np.full_like(points, np.nan), path.name[-20:]
        examples.append(
            TransferExample(face["image"], square, face["points"], unknown, points, face["visible"], np.nan, label)
        )
        matrix = central(photo).matrix(size)
        own.append(points @ matrix[:, :2].T + matrix[:, 2])
    note = f"run {options.name}; the truth is not known: check whether each colour is where it should be"
    sheet = transfer_sheet(examples, names, heading="Points transferred from human faces", note=note)
    save_figure(sheet, options.out / "transfers.png")
    write_points(options.out / "transfers.csv", faces, names, paths, own)


def central(photo: NDArray[np.uint8]) -> Square:
    """Return the square of a photo (H, W, 3) that ``center_square`` cuts out."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return Square((width - side) // 2 + side / 2 - 0.5, (height - side) // 2 + side / 2 - 0.5, side)


def write_points(
    path: Path,
    faces: Sequence[FaceItem],
    names: Sequence[str],
    photos: Sequence[Path],
    points: Sequence[NDArray[np.float64]],
) -> None:
    """Write one row per photo and point that is visible in the human face."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("human", "photo", "landmark", "x", "y"))
        for face, photo, found in zip(faces, photos, points, strict=True):
            for k in np.flatnonzero(face["visible"]).tolist():
                writer.writerow((face["name"], photo, names[k], *(f"{value:.2f}" for value in found[k].tolist())))


def score_world(
    options: argparse.Namespace, method: MatcherModule, settings: Mapping[str, Any], *, draw: bool
) -> list[Row]:
    """Test DIFE, its teacher and copying on pairs of human and the new species; prints and returns the errors."""
    from dife_lightning.registry import get_method
    from dife_lightning.viz.sheet import save_figure
    from experiments.common.measure import Measure
    from experiments.common.untrained import score
    from experiments.demo.pictures import draw_transfers

    measure = Measure(arguments={"size": method.size}, lists=[CLAIM_LIST])
    data = measure.prepared([f"human+{options.world}"], FAST_SCORED if options.fast else SCORED)
    teacher = get_method("frozen-embedder")(embedder=settings["model"]["init_args"]["teacher"])
    rows: list[Row] = []
    for name, tested in {"copy-xy": get_method("copy-xy")(), "surface-teacher": teacher, "dife": method}.items():
        folder = options.out / "tests" / name
        score(name, tested, data, folder)
        found = json.loads((folder / TEST_METRICS).read_text(encoding="utf-8"))["rows"]
        chosen = [row | {"method": name} for row in found if row["protocol"] == CLAIM_PROTOCOL]
        rows += [{key: row[key] for key in ROW_KEYS} for row in chosen]
    if draw:
        save_figure(draw_transfers({"DIFE": method}, data, DRAWN), options.out / "transfers.png")
    print("error in px of a 70-px crop, with the 95 % interval over pairs:")
    for row in rows:
        low, high = row["ci95"]
        print(f"  {row['method']}, {row['framing']}: {row['pixel_error']:.2f} [{low:.2f}, {high:.2f}]")
    return rows


# The user's own human face


def marked_face(image: Path, points: Path, size: int) -> tuple[FaceItem, list[str]]:
    """Return a face with its points, as its central square of ``size`` px, and the names of the points.

    Raises:
        DataError: a file is damaged, or a point lies outside the central square.
    """
    from dife_lightning.faces.images import center_square, read_image

    photo = read_image(image)
    names, found = read_points(points)
    square = central(photo).to_crop(found, size)
    outside = (square < -0.5) | (square > size - 0.5)
    if outside.any():
        first = names[int(outside.any(axis=1).argmax())]
        raise DataError(f"{points}: '{first}' lies outside the central square of {image}; crop the image to the face")
    face = FaceItem(
        image=center_square(photo, size), points=square, visible=np.ones(len(found), dtype=bool), name=str(image)
    )
    return face, names


def read_points(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read rows of x,y or name,x,y, with or without a heading; returns names and points (K, 2).

    Raises:
        DataError: no such file, or a row that is something else.
    """
    if not path.is_file():
        raise DataError(f"no file {path}; give the points of the human face as rows of x,y or name,x,y")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not _is_number(rows[0][-1]):
        del rows[0]
    names, points = [], []
    for number, row in enumerate(rows, start=1):
        if len(row) not in (2, 3) or not all(_is_number(cell) for cell in row[-2:]):
            raise DataError(f"{path}: row {number} is '{','.join(row)}', expected x,y or name,x,y")
        names.append(row[0] if len(row) == 3 else f"point {number}")
        points.append([float(cell) for cell in row[-2:]])
    if not points:
        raise DataError(f"{path} holds no points; expected rows of x,y or name,x,y")
    return names, np.array(points, np.float32)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
