"""``dife overlay``: an object, such as glasses, put on the faces of photos."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import add_photo_options, each_face, parse_where
from dife_lightning.cli.photo_outputs import refuse_to_replace
from dife_lightning.errors import DataError, UsageError
from dife_lightning.utils.files import photo_place
from dife_lightning.utils.notes import many, note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dife_lightning.applications.overlay import Overlay
    from dife_lightning.applications.photo_lists import TargetPhoto
    from dife_lightning.cli.photo_options import NamedFace

_ABOUT = """
Puts an object on the faces of PHOTOS (photos or folders), where it lies on the face of a reference photo. OBJECT is
glasses, mask or hat, which come with the package, or a PNG with transparency: a layer of the size of the photo --on,
drawn over its face. Where too few places of a face agree with the reference, the object is not put on, and a line says
so. With --steady, PHOTOS are the frames of a video, in the order of the numbers in their names, and frames without the
object are written as they are, so that none is missing.

Writes each photo with the object to FOLDER, and overlay.csv with the share of places that agree.

examples:
  dife overlay glasses cats dogs
  dife overlay --object crown.png --on queen.jpg cats
  dife overlay hat frames --steady 0.6
"""
#: The record of all faces, and endings of photos that are written as JPEG; others become PNG.
TABLE, _JPEG = "overlay.csv", (".jpg", ".jpeg")


def run(verb: str, args: list[str]) -> int:
    """Put an object on faces."""
    parser = _parser(verb)
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    where = parse_where(own.face_on)
    image, paths = _object_and_photos(own)
    from dife_lightning.applications.photo_lists import target_photos

    _, photos = target_photos(paths, own.faces, own.out)
    folder = Path(own.out)
    given = [path for path in (image, own.on) if path is not None]
    refuse_to_replace(
        [*given, *(photo.file for photo in photos)],
        [folder / TABLE, *(_place(folder, photo.name) for photo in photos)],
    )
    if own.steady:
        photos = _frames(photos)
    from dife_lightning.applications.overlay import Overlay

    options = {"size": own.size, "opacity": own.opacity, "support": own.support, "steady": own.steady}
    put = Overlay(image, own.on, where, own.model, **options)
    rows = [row for batch in each_face(put.eyes, photos) for row in _placed(put, batch, folder)]
    if own.steady:
        _fill_gaps(photos, {row.photo for row in rows if row.placed}, folder)
    return _finish(own, rows)


def _parser(verb: str) -> VerbParser:
    usage = "dife overlay OBJECT PHOTOS... [--on REFERENCE] [options]"
    parser = VerbParser(prog=f"dife {verb}", usage=usage, epilog=_ABOUT)
    add = parser.add_argument
    what = "glasses, mask, hat, or a PNG with transparency; then photos, or folders of photos"
    add("words", nargs="+", metavar="OBJECT PHOTOS", help=what)
    add("--object", metavar="OBJECT", help="the object, in place of the first word")
    add("--on", metavar="PHOTO", help="the reference photo over which OBJECT was drawn")
    add("--face_on", default="auto", metavar="WHERE", help="its face: auto, whole, or a box x0,y0,x1,y1 (auto)")
    add("--opacity", type=float, default=1.0, help="of the object (1)")
    add("--support", type=float, default=0.3, help="least share of the places that must agree (0.3)")
    add("--steady", type=float, default=0.0, help="share of the last frame in the placement of each (0)")
    add_photo_options(parser, "overlay")
    return parser


def _object_and_photos(own: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the object, which --object or the first word names, and the photos; UsageError for both or neither."""
    from dife_lightning.applications.overlay import OBJECTS

    first, *rest = own.words
    if own.object is not None:
        if first in OBJECTS and not Path(first).exists():
            raise UsageError(f"two objects: {first} and --object {own.object}; give one, and then photos.")
        return own.object, own.words
    if first not in OBJECTS and Path(first).expanduser().is_dir():
        raise UsageError(f"no object: {first} is a folder; begin with glasses, mask, hat or a PNG, or add --object.")
    if not rest:
        raise UsageError(f"{first} is taken as the object, and no photos follow; type dife overlay OBJECT PHOTOS...")
    return first, rest


def _frames(photos: Sequence[TargetPhoto]) -> list[TargetPhoto]:
    """Return the frames of a video in the order of the numbers in their names; UsageError if one has several faces."""
    several = next((photo for photo in photos if len(photo.faces) > 1), None)
    if several is not None:
        raise UsageError(
            f"--steady follows one face, but {several.name} has {len(several.faces)}; give one box a frame."
        )
    return sorted(photos, key=lambda photo: _natural(photo.name))


def _natural(name: str) -> list[str | int]:
    """Return words and numbers in turn, so that frame2 is before frame10."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split("([0-9]+)", name))]


class _Row(NamedTuple):
    """A face, whether the object was put on it, its support, why it was not, and the name of its photo."""

    face: str
    placed: bool
    support: float
    reason: str
    photo: str


def _placed(put: Overlay, batch: Sequence[NamedFace], folder: Path) -> list[_Row]:
    """Put the object on the faces of a batch, and write their photos."""
    import numpy as np

    rows, images = list[_Row](), dict[str, Any]()
    for name, face, photo in batch:
        found = put.place(face)
        rows.append(_Row(name, not found.reason, found.support, found.reason, photo))
        if found.reason:
            note(f"{name}: left as it is: {found.reason}")
            continue
        changed = (found.image != face.photo).any(axis=-1, keepdims=True)  # a photo may have several faces
        images[photo] = np.where(changed, found.image, images.get(photo, face.photo))
    for photo, image in images.items():
        _write_photo(_place(folder, photo), image)
    return rows


def _fill_gaps(frames: Sequence[TargetPhoto], placed: set[str], folder: Path) -> None:
    """Write the frames without the object as they are, apart from those that cannot be read."""
    from dife_lightning.applications.face_crops import open_photo

    count = 0
    for frame in frames:
        if frame.name in placed:
            continue
        try:
            image = open_photo(frame.file)
        except DataError:  # each_face has said so
            continue
        _write_photo(_place(folder, frame.name), image)
        count += 1
    if count:
        note(f"{many(count, 'frame')} without the object, written unchanged")


def _place(folder: Path, photo: str) -> Path:
    place = photo_place(folder, photo)
    return place if place.suffix.lower() in (*_JPEG, ".png") else place.with_name(f"{place.name}.png")


def _write_photo(place: Path, image: NDArray[np.uint8]) -> None:
    from PIL import Image

    from dife_lightning.utils.files import atomic_buffer

    is_jpeg = place.suffix.lower() in _JPEG
    options: dict[str, Any] = {"format": "JPEG", "quality": 94} if is_jpeg else {"format": "PNG"}
    with atomic_buffer(place) as buffer:
        Image.fromarray(image).save(buffer, **options)


def _finish(own: argparse.Namespace, rows: Sequence[_Row]) -> int:
    import csv

    from dife_lightning.utils.files import atomic_write

    path = Path(own.out) / TABLE
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("face", "placed", "support", "reason"))
        writer.writerows((row.face, "yes" if row.placed else "no", f"{row.support:.3f}", row.reason) for row in rows)
    count = sum(row.placed for row in rows)
    if not count:
        raise DataError(f"the object was put on none of {many(len(rows), 'face')}; {path} says why")
    print(f"put on {count} of {many(len(rows), 'face')}; see {own.out}")
    return 0
