"""``dife parse``: parts of faces that all species share, by joint k-means of their embeddings."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import MODEL, add_photo_options, each_face
from dife_lightning.cli.photo_outputs import refuse_to_replace
from dife_lightning.utils.files import photo_place
from dife_lightning.utils.notes import many, note

if TYPE_CHECKING:
    from dife_lightning.applications.parsing import FaceParser
    from dife_lightning.applications.photo_lists import TargetPhoto

_ABOUT = """
Clusters the embeddings of all faces together, so that a part, such as eyes, nose or fur, is the same on all species.
PHOTOS are photos or folders of photos. Writes to FOLDER:

  parser.safetensors   the parts, for --parser
  labels/*.png         the part of each pixel of each photo; 255 outside of the face's square
  parts.csv            share and centre of each part of each face
  parts.png            the first faces in the colours of their parts

With --parser, the parts of an earlier command are used, and none are found anew; the model is the one that they were
found with. Photos that cannot be read are passed over.

examples:
  dife parse people cats dogs
  dife parse photos --parts 12 --out parts
  dife parse new_photos --parser parts/parser.safetensors --out new_parts
"""
#: Photos whose faces are clustered, at even distances, and faces on the sheet.
FIT, SHEET = 200, 24
#: Files that are written: the sheet, and the folder of the labels.
SHEET_FILE, LABELS = "parts.png", "labels"


def run(verb: str, args: list[str]) -> int:
    """Find and draw parts of faces."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife parse PHOTOS... [options]", epilog=_ABOUT)
    parser.add_argument("photos", nargs="+", help="photos, or folders of photos")
    parser.add_argument("--parts", type=int, default=9, help="number of parts (9)")
    parser.add_argument("--normalize", default="none", help="compare embeddings as they are, none, or unit ones, l2")
    parser.add_argument("--seed", type=int, default=0, help="of the clustering (0)")
    parser.add_argument("--parser", metavar="FILE", help="parts of an earlier command")
    add_photo_options(parser, "parse")
    parser.set_defaults(model=None)
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    from dife_lightning.applications.face_embedder import FaceEmbedder
    from dife_lightning.applications.parsing import FaceParser
    from dife_lightning.applications.photo_lists import target_photos

    known = None if own.parser is None else FaceParser.load(own.parser)
    model = _model(own, known)
    _, photos = target_photos(own.photos, own.faces, own.out)
    folder = Path(own.out)
    refuse_to_replace([photo.file for photo in photos], [folder / SHEET_FILE, *_label_files(folder, photos)])
    eyes = FaceEmbedder(model, own.size)
    if known is None:
        step = -(-len(photos) // FIT)
        maps = [eyes.embed([one.face for one in batch]) for batch in each_face(eyes, photos[::step])]
        known = FaceParser.fit(maps, own.parts, own.normalize, own.seed, model)
        known.save(folder / "parser.safetensors")
    _write(own, known, folder, eyes, photos)
    return 0


def _model(own: argparse.Namespace, known: FaceParser | None) -> str:
    """Return the model to use: that of the parts, which --model may name in another way, or --model, or photos/dife."""
    if known is None or not known.model:
        return own.model or MODEL
    model = own.model or known.model
    known.check_model(model, own.parser)
    if own.model is None:
        note(f"{own.parser}: its parts were found with {model}, which is used")
    return model


def _write(own: argparse.Namespace, known: FaceParser, folder: Path, eyes: Any, photos: Any) -> None:
    from dife_lightning.applications.parsing import part_rows, photo_labels
    from dife_lightning.viz.parts import parts_sheet
    from dife_lightning.viz.sheet import save_figure

    rows: list[dict[str, Any]] = []
    faces, parts, names = list[Any](), list[Any](), list[str]()
    for batch in each_face(eyes, photos):
        found = known.parse_faces(eyes.embed([one.face for one in batch]))
        for (name, face, _), one in zip(batch, found, strict=True):
            labels = photo_labels(face, one)
            _write_labels(_label_file(folder, name), labels, len(known))
            rows += part_rows(name, labels, len(known))
            if len(faces) < SHEET:
                faces.append(face.picture)
                parts.append(one)
                names.append(name)
    _write_rows(folder / "parts.csv", rows)
    save_figure(parts_sheet(faces, parts, names, len(known)), folder / SHEET_FILE)
    print(f"{many(len(rows) // len(known), 'face')} in {len(known)} parts; see {folder / SHEET_FILE}")


def _label_files(folder: Path, photos: Sequence[TargetPhoto]) -> list[Path]:
    """Return all files of labels that may be written: of each photo, and of each of its faces if it has several."""
    names = [
        name
        for photo in photos
        for name in (photo.name, *(f"{photo.name}#{k}" for k in range(1, len(photo.faces) + 1)))
    ]
    return [_label_file(folder, name) for name in names]


def _label_file(folder: Path, name: str) -> Path:
    place = photo_place(folder / LABELS, name.replace("#", "_"))
    return place.with_name(f"{place.name}.png")


def _write_labels(place: Path, labels: Any, count: int) -> None:
    """Write labels as a PNG with a palette, so that pictures and programs both can use it."""
    import numpy as np
    from PIL import Image

    from dife_lightning.utils.files import atomic_buffer
    from dife_lightning.viz.parts import part_colors

    colors = np.full((256, 3), 255, np.uint8)
    colors[:count] = part_colors(count)
    image = Image.fromarray(labels, mode="P")
    image.putpalette(colors.tobytes())
    with atomic_buffer(place) as buffer:
        image.save(buffer, format="PNG")


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from dife_lightning.utils.files import atomic_write

    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
