"""``dife overlay``: an object, such as glasses, put on the faces of photos."""

from __future__ import annotations

import argparse
from pathlib import Path, PurePosixPath
from typing import Any

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import add_photo_options, each_face, parse_where
from dife_lightning.errors import DataError
from dife_lightning.utils.notes import many, note

_ABOUT = """
Puts an object on the faces of PHOTOS (photos or folders), where it lies on the face of a reference photo. OBJECT is
glasses, mask or hat, which come with the package, or a PNG with transparency: a layer of the size of the photo --on,
drawn over its face. Where too few places of a face agree with the reference, the object is not put on, and a line says
so. With --steady, PHOTOS are the frames of a video, in the order of their names.

Writes each photo with the object to FOLDER, and overlay.csv with the share of places that agree.

examples:
  dife overlay glasses cats dogs
  dife overlay crown.png --on queen.jpg cats --opacity 0.9
  dife overlay hat frames --steady 0.6
"""


def run(verb: str, args: list[str]) -> int:
    """Put an object on faces."""
    parser = _parser(verb)
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    where = parse_where(own.face_on)
    from dife_lightning.applications.overlay import Overlay
    from dife_lightning.applications.photo_lists import target_photos

    options = {"size": own.size, "opacity": own.opacity, "support": own.support, "steady": own.steady}
    put = Overlay(own.object, own.on, where, own.model, **options)
    _, photos = target_photos(own.photos, own.faces)
    rows = [row for batch in each_face(put.eyes, photos) for row in _placed(put, batch, Path(own.out))]
    return _finish(own, rows)


def _parser(verb: str) -> VerbParser:
    usage = "dife overlay OBJECT PHOTOS... [--on REFERENCE] [options]"
    parser = VerbParser(prog=f"dife {verb}", usage=usage, epilog=_ABOUT)
    add = parser.add_argument
    add("object", help="glasses, mask, hat, or a PNG with transparency")
    add("photos", nargs="+", help="photos, or folders of photos")
    add("--on", metavar="PHOTO", help="the reference photo over which OBJECT was drawn")
    add("--face_on", default="auto", metavar="WHERE", help="its face: auto, whole, or a box x0,y0,x1,y1 (auto)")
    add("--opacity", type=float, default=1.0, help="of the object (1)")
    add("--support", type=float, default=0.3, help="least share of the places that must agree (0.3)")
    add("--steady", type=float, default=0.0, help="share of the last frame in the placement of each (0)")
    add_photo_options(parser, "overlay")
    return parser


def _placed(put: Any, batch: Any, folder: Path) -> list[tuple[str, str, float, str]]:
    """Put the object on the faces of a batch; return a row for each."""
    import numpy as np
    from PIL import Image

    from dife_lightning.utils.files import atomic_buffer

    rows, images = list[tuple[str, str, float, str]](), dict[str, Any]()
    for name, face, photo in batch:
        found = put.place(face)
        rows.append((name, "no" if found.reason else "yes", found.support, found.reason))
        if found.reason:
            note(f"{name}: left as it is: {found.reason}")
            continue
        changed = (found.image != face.photo).any(axis=-1, keepdims=True)  # a photo may have several faces
        images[photo] = np.where(changed, found.image, images.get(photo, face.photo))
    for photo, image in images.items():
        place = folder.joinpath(*(part for part in PurePosixPath(photo).parts if part not in "/.."))
        is_jpeg = place.suffix.lower() in (".jpg", ".jpeg")
        place = place if is_jpeg or place.suffix.lower() == ".png" else place.with_name(f"{place.name}.png")
        options: dict[str, Any] = {"format": "JPEG", "quality": 94} if is_jpeg else {"format": "PNG"}
        with atomic_buffer(place) as buffer:
            Image.fromarray(image).save(buffer, **options)
    return rows


def _finish(own: argparse.Namespace, rows: list[tuple[str, str, float, str]]) -> int:
    import csv

    from dife_lightning.utils.files import atomic_write

    path = Path(own.out) / "overlay.csv"
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("face", "placed", "support", "reason"))
        writer.writerows((name, placed, f"{support:.3f}", reason) for name, placed, support, reason in rows)
    count = sum(placed == "yes" for _, placed, _, _ in rows)
    if not count:
        raise DataError(f"the object was put on none of {many(len(rows), 'face')}; {path} says why")
    print(f"put on {count} of {many(len(rows), 'face')}; see {own.out}")
    return 0
