"""``dife transfer``: landmarks of annotated faces carried to the photos of a folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.cli.options import VerbParser, reader_options
from dife_lightning.cli.photo_options import add_photo_options, progress, say_passed_over
from dife_lightning.errors import DataError, UsageError
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many, note, some

if TYPE_CHECKING:
    from dife_lightning.applications.landmark_transfer import SourceFace
    from dife_lightning.applications.photo_job import Results
    from dife_lightning.callbacks._found_faces import FoundFace
    from dife_lightning.faces.schemes import Scheme

_ABOUT = """
Carries the landmarks of SOURCE to all TARGETS, photos or folders of photos of faces of any species. SOURCE is a photo
with a file of --points (CSV with the columns name, x, y; or JSON {"nose": [x, y], ...}), or annotated faces, which
vote: a file or folder of an annotation tool, as `dife data convert` reads it. Every other --key value is an option of
its reader, such as --left subject.

Writes landmarks.csv, landmarks.json (COCO, in pixels of the photos) and drawings to FOLDER. Each point has a
confidence and a cycle error (its error on the way back, as a share of the face); points without a match have the flag
0 in the table and 1 in the COCO file. Photos that cannot be read are passed over. An interrupted command goes on.

A face is looked for with photos/dife, and is a quarter of the photo or larger; otherwise give --faces a file of boxes.

examples:
  dife transfer person.jpg cats --points points.csv
  dife transfer labels.csv photos --out carried --to label-studio
  dife transfer cvat_project photos --faces boxes.json
"""


def run(verb: str, args: list[str]) -> int:
    """Carry landmarks to photos."""
    parser = _parser(verb)
    if (code := parser.help_code(args)) is not None:
        return code
    if args[0].startswith("-"):
        raise UsageError("name the source first, for example `dife transfer labels.csv photos`.")
    own, rest = parser.parse_known_args(args)
    options = reader_options(rest)
    if own.points is not None and options:
        raise UsageError(f"--{next(iter(options))} is no option of `dife transfer` with --points.")
    from dife_lightning.applications.landmark_transfer import LandmarkTransfer
    from dife_lightning.applications.photo_job import Journal, carry_to_photos, found_faces
    from dife_lightning.applications.photo_lists import target_photos
    from dife_lightning.datasets.writing.forms import check_form

    if own.to is not None:
        check_form(own.to, "copy")
    require(at_least=0, pictures=own.pictures)
    root, photos = target_photos(own.targets, own.faces, own.out)
    sources, scheme = _one_source(own) if own.points is not None else _annotated(own, options)
    folder = Path(own.out)
    journal = Journal(folder / "progress.jsonl", _settings(own, root, sources, scheme), own.overwrite)
    carry = LandmarkTransfer(sources, scheme, own.model, size=own.size, max_cycle=own.max_cycle)
    with progress(len(photos)) as done:
        carry_to_photos(carry, photos, journal, done=done)
    say_passed_over([reason for photo in photos for reason in journal.passed_over(photo)])
    earlier = journal.earlier(root, photos)
    if earlier:
        note(f"{many(len(earlier), 'photo')} of earlier commands stay in the results")
    photos = sorted([*photos, *earlier], key=lambda photo: photo.name) if earlier else photos
    found = found_faces(journal, photos, carry.size)
    if not found:
        raise DataError(f"no landmarks: {many(len(photos), 'photo')} passed over")
    empty = sum(not journal.of(photo)["faces"] for photo in photos)
    _finish(own, root, found, scheme, journal.results, empty)
    return 0


def _parser(verb: str) -> VerbParser:
    parser = VerbParser(prog=f"dife {verb}", usage="dife transfer SOURCE TARGETS... [options]", epilog=_ABOUT)
    parser.add_argument("source", help="a photo (with --points), or annotated faces")
    parser.add_argument("targets", nargs="+", help="photos, or folders of photos")
    parser.add_argument("--points", metavar="FILE", help="landmarks of the photo SOURCE, CSV or JSON")
    parser.add_argument("--from", metavar="READER", default="", dest="reader", help="reader of SOURCE (recognised)")
    parser.add_argument("--images", metavar="FOLDER", help="folder of SOURCE's pictures (beside it)")
    parser.add_argument("--max_cycle", type=float, default=0.06, help="largest cycle error of a match (0.06)")
    parser.add_argument("--pictures", type=int, default=20, help="photos to draw the landmarks on (20)")
    parser.add_argument("--to", metavar="FORM", help="also write a project of an annotation tool, to correct them")
    add_photo_options(parser, "transfer")
    parser.add_argument("--overwrite", action="store_true", help="replace the landmarks of another transfer in FOLDER")
    return parser


def _one_source(own: argparse.Namespace) -> tuple[list[SourceFace], Scheme]:
    """Return the photo SOURCE with its points."""
    import numpy as np

    from dife_lightning.applications.face_crops import open_photo
    from dife_lightning.applications.landmark_transfer import SourceFace
    from dife_lightning.faces.own_schemes import scheme_from_names

    points = read_points(Path(own.points))
    open_photo(own.source)  # says what is wrong with it, before its content is hashed
    scheme = scheme_from_names(list(points), Path(own.points).stem)
    return [SourceFace(own.source, np.array(list(points.values()), np.float32), name=own.source)], scheme


def read_points(path: Path) -> dict[str, tuple[float, float]]:
    """Read named points of one photo: a CSV file with the columns name, x and y, or a JSON object.

    Raises:
        DataError: no such file, another form, no point, or a point twice.
    """
    from dife_lightning.datasets.parsing.csv_files import read_csv
    from dife_lightning.datasets.parsing.table import RELATIVE
    from dife_lightning.datasets.parsing.text import read_json

    expected = "expected CSV with the columns name, x, y, or JSON {name: [x, y], ...}"
    instead = f"; the file of an annotation tool takes the place of SOURCE: dife transfer {path} PHOTOS"
    try:
        if path.suffix.lower() == ".json":
            content = read_json(path)
            if not isinstance(content, dict) or any(isinstance(place, str | dict) for place in content.values()):
                raise DataError(f"{path}: {expected}{instead}")
            rows = [(str(name), *place) for name, place in content.items()]
        else:
            columns, lines = read_csv(path)
            if not {"name", "x", "y"} <= set(columns):
                hint = instead if "image" in columns else ""
                raise DataError(f"{path}: columns {some(columns, 4)}; {expected}{hint}")
            places = [columns.index(name) for name in ("name", "x", "y")]
            rows = [tuple(cells[place] for place in places) for _, cells in lines]
        points = {name: (float(x), float(y)) for name, x, y in rows}
    except (TypeError, ValueError, IndexError):
        raise DataError(f"{path}: a point that is no pair of numbers; {expected}") from None
    numbers = [number for place in points.values() for number in place]
    if len(points) > 1 and all(0 <= number <= 1 for number in numbers) and any(number % 1 for number in numbers):
        raise DataError(f"{path}: {RELATIVE}")
    if not points or len(points) < len(rows):
        raise DataError(f"{path}: no point, or two of one name; {expected}")
    return points


def _annotated(own: argparse.Namespace, options: dict[str, Any]) -> tuple[list[SourceFace], Scheme]:
    """Return the annotated faces of SOURCE."""
    from dife_lightning.applications.landmark_transfer import MOST, SourceFace
    from dife_lightning.datasets._load import load_dataset
    from dife_lightning.datasets.parsing.recognising import reader_of
    from dife_lightning.faces.images import SUFFIXES
    from dife_lightning.faces.schemes import get_scheme

    if Path(own.source).suffix.lower() in SUFFIXES:
        raise UsageError(f"{own.source} is a photo; add --points FILE with its landmarks (name, x, y).")
    reader, root, found = reader_of(own.source, own.reader, own.images)
    faces = load_dataset(reader, root, **{**found, **options})
    if not len(faces):
        raise DataError(f"{own.source} has no annotated face")
    chosen = [int(k * len(faces) / MOST) for k in range(MOST)] if len(faces) > MOST else range(len(faces))
    if len(chosen) < len(faces):
        note(f"{own.source}: {len(faces)} annotated faces; {MOST} of them, evenly spread, are used")
    sources = [SourceFace(one.image, one.points, one.visible, one.box, one.name)
               for one in (faces.annotations[k] for k in chosen)]  # fmt: skip
    return sources, get_scheme(faces.scheme)


def _settings(own: argparse.Namespace, root: Path, sources: Sequence[SourceFace], scheme: Scheme) -> dict[str, Any]:
    """Return what the landmarks depend on: the folder of the photos, sources, the model and the options."""
    from dife_lightning.utils.files import sha256
    from dife_lightning.weights.checkpoints import find_weights

    model = own.model if own.model.startswith("backbone:") else sha256(find_weights(own.model))
    faces = own.faces if own.faces in ("auto", "whole") else sha256(own.faces)
    annotated = [
        [str(source.name), sha256(str(source.photo)), source.points.round(3).tolist(),
         None if source.visible is None else source.visible.tolist()]
        for source in sources
    ]  # fmt: skip
    options = {"model": model, "faces": faces, "size": own.size, "max_cycle": own.max_cycle}
    options["photos"] = str(root.resolve())
    return {**options, "landmarks": list(scheme.landmarks), "sources": json.loads(json.dumps(annotated))}


def _finish(
    own: argparse.Namespace, root: Path, found: Sequence[FoundFace], scheme: Scheme, results: Results, empty: int
) -> None:
    """Write the landmarks in all forms, and say what was found."""
    import numpy as np

    from dife_lightning.applications.face_crops import SURE
    from dife_lightning.callbacks._found_faces import coco_document, draw, write_table
    from dife_lightning.datasets._load import load_dataset
    from dife_lightning.datasets.writing.forms import convert
    from dife_lightning.faces.images import SUFFIXES, walk_files
    from dife_lightning.utils.files import write_json

    folder = Path(own.out)
    results.begin()
    write_json(folder / "landmarks.json", coco_document(found, scheme, **_INFO))
    write_table(folder / "landmarks.csv", found, scheme)
    drawn = draw(found, scheme, folder / "pictures", own.pictures)
    matched = np.mean([face.sure for face in found])
    told = f"{many(len(found), 'face')}, {100 * matched:.0f} % of the points matched"
    unlike = sum(face.likeness is not None and face.likeness < SURE for face in found)
    told += f"; {unlike} hardly like a face (likeness below {SURE})" if unlike else ""
    print(f"{told}; {many(empty, 'photo')} passed over; see {folder / 'landmarks.csv'}"
          + (f" and {many(len(drawn), 'drawing')} in {folder / 'pictures'}" if drawn else ""))  # fmt: skip
    files = [folder / "landmarks.json", folder / "landmarks.csv", *drawn]
    if own.to is not None:
        faces: Any = load_dataset("coco-keypoints", root, file=(folder / "landmarks.json").absolute(), scheme=scheme)
        replace = own.overwrite or any(name.startswith(f"{own.to}/") for name in results.known())
        print("\n".join(convert(faces, folder / own.to, own.to, "copy", replace, None)))
        files += [file for file in walk_files(folder / own.to) if file.suffix.lower() not in SUFFIXES]
    results.remember(files)


_INFO = {
    "visibility": "2: matched; 1: found, but its way back ends elsewhere, or it is outside of the photo; 0: not found",
    "score": "keypoint_scores: mean cosine similarity to the sources, 0 to 1; score: their mean",
    "flip_shift": "",
    "cycle_error": "keypoint_cycle_errors: distance by which a point misses itself on the way there and back, as a "
    "share of the side of the crop",
}
