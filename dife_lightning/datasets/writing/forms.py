"""``dife data convert``: any data set of annotated faces in the form of an annotation tool."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.datasets.parsing.labels import LabelledFace, Labels, note_lines
from dife_lightning.datasets.writing.coco import write_coco
from dife_lightning.datasets.writing.cvat import write_cvat
from dife_lightning.datasets.writing.deeplabcut import place_deeplabcut, write_deeplabcut
from dife_lightning.datasets.writing.label_studio import write_label_studio
from dife_lightning.datasets.writing.labelme import write_labelme
from dife_lightning.datasets.writing.splitting import split_faces
from dife_lightning.datasets.writing.table import write_csv
from dife_lightning.datasets.writing.yolo_pose import place_yolo_pose, write_yolo_pose
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.image_info import image_info_cache, shown_size
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.utils.files import atomic_write
from dife_lightning.utils.notes import many


def _in_images(image: str) -> str:
    return f"images/{image.removeprefix('images/')}"


class Form(NamedTuple):
    """How a form is written."""

    write: Callable[[Labels], dict[str, str]]  # returns the text of each file by its path
    place: Callable[[str], str]  # returns the path of a picture in the new folder
    fixed: bool  # the form fixes this place, so that it stands in the files also if no picture is copied
    each: bool  # each picture has a file of its own, named as it
    reader: str  # the reader that takes it


FORMS = {
    "coco": Form(write_coco, _in_images, False, False, "coco-keypoints"),
    "csv": Form(write_csv, _in_images, False, False, "folder"),
    "cvat": Form(write_cvat, _in_images, False, False, "cvat"),
    "deeplabcut": Form(write_deeplabcut, place_deeplabcut, True, False, "deeplabcut"),
    "label-studio": Form(write_label_studio, _in_images, False, False, "label-studio"),
    "labelme": Form(write_labelme, str, True, True, "labelme"),
    "yolo-pose": Form(write_yolo_pose, place_yolo_pose, True, True, "yolo-pose"),
}
#: What happens to the pictures.
PICTURES = ("copy", "none")


def labels_of(faces: FaceFiles) -> Labels:
    """Return the faces of a data set as labels, in pixels of the upright pictures, whose headers are read.

    DataError for a picture that cannot be opened.
    """
    scheme = get_scheme(faces.scheme)
    names = list(scheme.landmarks)
    labels = Labels([], names, [(names[a], names[b]) for a, b in scheme.flip_pairs])
    with image_info_cache():
        for index in range(len(faces)):
            face, image = faces.upright(index), faces.listed_picture(index)
            shown = {name: (float(x), float(y)) for name, (x, y) in zip(names, face.points, strict=True)}
            occluded = face.visible & (False if face.occluded is None else face.occluded)
            box = None if face.box is None else tuple(map(float, face.box))
            labels.faces.append(
                LabelledFace(
                    image,
                    {name: shown[name] for name, on in zip(names, face.visible, strict=True) if on},
                    face.source,
                    shown_size(face.image),
                    box,  # type: ignore[arg-type]  # four numbers
                    face.group,
                    face.name.removeprefix(image).removeprefix("#"),
                    {name for name, on in zip(names, occluded, strict=True) if on},
                    face.subject,
                )
            )
    return labels


def convert(
    faces: FaceFiles,
    folder: str | Path,
    to: str,
    pictures: str = "copy",
    overwrite: bool = False,
    split: Sequence[float] | None = None,
) -> list[str]:
    """Write a data set in the form of an annotation tool.

    Args:
        faces: the data set.
        folder: to write to.
        to: one of :data:`FORMS`.
        pictures: ``copy`` them into the folder, or ``none``.
        overwrite: replace annotation files that are there; pictures are never replaced.
        split: shares of train, val and test; then ``csv`` writes a file for each, and no photo or subject is in two.

    Returns:
        Lines for the user: what was written, and what the form cannot hold.

    Raises:
        ConfigError: unknown form, or annotation files are there.
        DataError: a picture is missing or damaged, or another one of its name is there.
    """
    check_form(to, pictures)
    form, folder, labels = FORMS[to], Path(os.path.expanduser(folder)), labels_of(faces)
    sources = {labels.faces[k].image: faces.annotations[k].image for k in range(len(faces))}
    if form.fixed or pictures == "copy":
        labels.faces = [replace(face, image=form.place(_inner(face.image))) for face in labels.faces]
    _check_apart(sources, form)
    files = form.write(labels) if split is None else _split_files(faces, labels, to, split)
    _check_free(folder, files, overwrite)
    if pictures == "copy":
        _copy(sources, folder, form)
    for name, text in files.items():
        with atomic_write(folder / name) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")
    main, more = next(iter(files)), f" and {many(len(files) - 1, 'more file')}" if len(files) > 1 else ""
    copied = ", pictures copied" if pictures == "copy" else ""
    counts = f"{many(len(faces), 'face')} of {many(len(sources), 'picture')}"
    file = f" --file {main}" if form.reader == "coco-keypoints" or split is not None else ""
    first = f"wrote {counts} to {folder}: {main}{more}{copied}"
    sided = get_scheme(faces.scheme).eye_convention == "subject" and labels.mirror
    way = "--left subject" if form.reader == "folder" else "--scheme FILE.yaml with left: subject"
    own = [f"left in the names of points is the face's own: read them with {way}"] if sided else []
    left = " --left subject" if sided and form.reader == "folder" else ""
    look = f"look at them: dife data preview {form.reader} {folder}{file}{left}"
    return [first, look, *own, *note_lines(labels.notes)]


def _split_files(faces: FaceFiles, labels: Labels, to: str, shares: Sequence[float]) -> dict[str, str]:
    """Return the text of a CSV file for each part."""
    if to != "csv":
        raise ConfigError(f"--split is for --to csv, not for {to}")
    files: dict[str, str] = {}
    for part, numbers in split_faces(faces, shares).items():
        some = replace(labels, faces=[labels.faces[k] for k in numbers])
        files |= {f"{part}.csv": text for text in write_csv(some).values()}
        labels.notes[f"faces in {part}.csv"] = len(numbers)
    return files


def check_form(to: str, pictures: str) -> None:
    """Raise ConfigError for an unknown form, or another value of ``pictures``."""
    if to not in FORMS:
        raise ConfigError(f"--to '{to}': {'unknown form' if to else 'no form given'}. {did_you_mean(to, FORMS)}")
    if pictures not in PICTURES:
        raise ConfigError(f"--pictures '{pictures}': {did_you_mean(pictures, PICTURES)}")


def _inner(image: str) -> str:
    """Return a path that does not lead out of a folder."""
    return "/".join(part for part in image.split("/") if part not in ("", ".", ".."))


def _check_apart(images: Iterable[str], form: Form) -> None:
    """Raise DataError for two pictures of one place, or of one annotation file where each has its own."""
    first: dict[str, str] = {}
    for image in images:
        place = form.place(_inner(image))
        other = first.setdefault(os.path.splitext(place)[0] if form.each else place, image)
        if other != image:
            raise DataError(f"{image} and {other} would have the same name in this form; rename one of them.")


def _check_free(folder: Path, files: dict[str, str], overwrite: bool) -> None:
    there = [name for name in files if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigError(
            f"{folder / there[0]} is there already ({len(there)} of {len(files)} files). "
            f"Give another folder, or --overwrite true."
        )


def _copy(sources: dict[str, Path], folder: Path, form: Form) -> None:
    """Copy pictures to their places; one that is there with the same content is left."""
    for image, source in sources.items():
        target = folder / form.place(_inner(image))
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        elif not target.samefile(source) and target.read_bytes() != source.read_bytes():
            raise DataError(f"{target} is another picture than {source}; give another folder.")
