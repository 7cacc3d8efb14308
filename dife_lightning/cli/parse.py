"""``dife parse``: parts of faces that all species share, by joint k-means of their embeddings."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import add_photo_options, each_face
from dife_lightning.utils.notes import many

if TYPE_CHECKING:
    from dife_lightning.applications.face_crops import FaceCrop
    from dife_lightning.applications.parsing import FaceParser

_ABOUT = """
Clusters the embeddings of all faces together, so that a part, such as eyes, nose or fur, is the same on all species.
PHOTOS are photos or folders of photos. Writes to FOLDER:

  parser.safetensors   the parts, for --parser
  labels/*.png         the part of each pixel of each photo; 255 outside of the face
  parts.csv            share and centre of each part of each face
  parts.png            the first faces in the colours of their parts

With --parser, the parts of an earlier command are used, and none are found anew. Photos that cannot be read are passed
over.

examples:
  dife parse people cats dogs
  dife parse photos --parts 12 --out parts
  dife parse new_photos --parser parts/parser.safetensors --out new_parts
"""
#: Photos whose faces are clustered, at even distances, and faces on the sheet.
FIT, SHEET = 200, 24


def run(verb: str, args: list[str]) -> int:
    """Find and draw parts of faces."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife parse PHOTOS... [options]", epilog=_ABOUT)
    parser.add_argument("photos", nargs="+", help="photos, or folders of photos")
    parser.add_argument("--parts", type=int, default=9, help="number of parts (9)")
    parser.add_argument("--normalize", default="none", help="compare embeddings as they are, none, or unit ones, l2")
    parser.add_argument("--seed", type=int, default=0, help="of the clustering (0)")
    parser.add_argument("--parser", metavar="FILE", help="parts of an earlier command")
    add_photo_options(parser, "parse")
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    from dife_lightning.applications.face_embedder import FaceEmbedder
    from dife_lightning.applications.parsing import FaceParser
    from dife_lightning.applications.photo_lists import target_photos

    known = None if own.parser is None else FaceParser.load(own.parser)
    _, photos = target_photos(own.photos, own.faces)
    eyes, folder = FaceEmbedder(own.model, own.size), Path(own.out)
    if known is None:
        step = -(-len(photos) // FIT)
        maps = [eyes.embed([one.face for one in batch]) for batch in each_face(eyes, photos[::step])]
        known = FaceParser.fit(maps, own.parts, own.normalize, own.seed, own.model)
        known.save(folder / "parser.safetensors")
    _write(own, known, folder, eyes, photos)
    return 0


def _write(own: argparse.Namespace, known: FaceParser, folder: Path, eyes: Any, photos: Any) -> None:
    from dife_lightning.applications.parsing import part_rows, photo_labels
    from dife_lightning.viz.parts import parts_sheet
    from dife_lightning.viz.sheet import save_figure

    rows: list[dict[str, Any]] = []
    shown: list[tuple[FaceCrop, Any, str]] = []
    for batch in each_face(eyes, photos):
        found = known.parse_faces(eyes.embed([one.face for one in batch]))
        for (name, face, _), one in zip(batch, found, strict=True):
            labels = photo_labels(face, one)
            _write_labels(folder / "labels", name, labels, len(known))
            rows += part_rows(name, labels, len(known))
            if len(shown) < SHEET:
                shown.append((face, one, name))
    _write_rows(folder / "parts.csv", rows)
    faces, parts, names = zip(*shown, strict=True)
    save_figure(parts_sheet([face.picture for face in faces], parts, names, len(known)), folder / "parts.png")
    print(f"{many(len(rows) // len(known), 'face')} in {len(known)} parts; see {folder / 'parts.png'}")


def _write_labels(folder: Path, name: str, labels: Any, count: int) -> None:
    """Write labels as a PNG with a palette, so that pictures and programs both can use it."""
    import numpy as np
    from PIL import Image

    from dife_lightning.utils.files import atomic_buffer
    from dife_lightning.viz.parts import part_colors

    place = folder.joinpath(*(part for part in PurePosixPath(name.replace("#", "_")).parts if part not in "/.."))
    colors = np.full((256, 3), 255, np.uint8)
    colors[:count] = part_colors(count)
    image = Image.fromarray(labels, mode="P")
    image.putpalette(colors.tobytes())
    with atomic_buffer(place.with_name(f"{place.name}.png")) as buffer:
        image.save(buffer, format="PNG")


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from dife_lightning.utils.files import atomic_write

    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
