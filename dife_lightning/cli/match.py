"""``dife match``: dense correspondence of two photos of faces."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dife_lightning.cli.options import VerbParser, parse_value, results_folder
from dife_lightning.cli.photo_options import parse_where
from dife_lightning.errors import UsageError

if TYPE_CHECKING:
    from dife_lightning.applications import DenseMatch

_ABOUT = """
Writes match.png (equal places in equal colours, the second face warped onto the first), match.npz (for each cell of the
first face: its place in both photos, the confidence, and the error on the way there and back) and match.json (the faces
and the share of matched cells) to FOLDER. With --points, these points of the first photo are carried to the second one,
printed and written to points.csv. All coordinates are pixels of the photos, x then y.

A face is looked for with photos/dife, and is a quarter of the photo or larger; otherwise give its box.

examples:
  dife match person.jpg cat.jpg
  dife match person.jpg cat.jpg --points '[[210, 120], [262, 118]]'
  dife match person.jpg cat.jpg --face_a 120,40,330,250 --face_b whole
"""


def run(verb: str, args: list[str]) -> int:
    """Match two photos."""
    parser = _parser(verb)
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    faces, points = (parse_where(own.face_a), parse_where(own.face_b)), _points(own.points)
    from dife_lightning.applications import match

    found = match(own.first, own.second, own.model, faces=faces, size=own.size, max_cycle=own.max_cycle)
    carried = None if points is None else found.transfer(points)
    folder = Path(own.out)
    found.draw(folder / "match.png")
    found.save(folder / "match.npz")
    found.write_summary(folder / "match.json")
    _say(found, own, folder)
    if carried is not None:
        _write_points(points, carried, found, folder / "points.csv")
    return 0


def _parser(verb: str) -> VerbParser:
    parser = VerbParser(prog=f"dife {verb}", usage="dife match FIRST SECOND [options]", epilog=_ABOUT)
    parser.add_argument("first", help="photo of a face")
    parser.add_argument("second", help="photo of another face, of any species")
    parser.add_argument("--model", default="photos/dife", help="an embedder: shipped, or a run of yours (photos/dife)")
    for name, which in (("a", "first"), ("b", "second")):
        text = f"the face of the {which} photo: auto, whole, or its box x0,y0,x1,y1 (auto)"
        parser.add_argument(f"--face_{name}", default="auto", metavar="WHERE", help=text)
    parser.add_argument("--points", metavar="[[X,Y],...]", help="points of the first photo to carry to the second")
    parser.add_argument("--size", type=int, help="side in pixels of what the model sees (that of its training)")
    parser.add_argument("--max_cycle", type=float, default=0.06, help="largest error there and back of a match (0.06)")
    parser.add_argument("--out", type=results_folder, default="match", metavar="FOLDER", help="where to write (match)")
    return parser


def _points(text: str | None) -> list[list[float]] | None:
    if text is None:
        return None
    try:
        given: Any = parse_value(text)
        return [[float(x), float(y)] for x, y in given]
    except (yaml.YAMLError, TypeError, ValueError):
        raise UsageError(f"--points {text}: expected [[x, y], ...] in pixels of the first photo.") from None


def _say(found: DenseMatch, own: argparse.Namespace, folder: Path) -> None:
    for face, file in ((found.first, own.first), (found.second, own.second)):
        x0, y0, x1, y1 = face.square.box().tolist()
        sure = f", likeness {face.score:.2f}" if face.how == "found" else ""
        print(f"{file}: face ({face.how}{sure}) {x0:.0f},{y0:.0f},{x1:.0f},{y1:.0f}")
    print(f"{100 * found.matched.mean():.0f} % of the places are matched; see {folder / 'match.png'}")


def _write_points(points: Any, carried: Sequence[Any], found: DenseMatch, path: Path) -> None:
    from dife_lightning.utils.files import atomic_write

    there, sure, missed = carried
    inside = found.second.inside_photo(there)
    head = ("x", "y", "there_x", "there_y", "confidence", "cycle_error", "matched")
    rows = []
    for start, end, confidence, cycle, kept in zip(points, there, sure, missed, inside, strict=True):
        good = bool(kept) and float(cycle) <= found.max_cycle
        rows.append([*(f"{v:.2f}" for v in (*start, *end)), f"{confidence:.3f}", f"{cycle:.3f}", int(good)])
        told = f"confidence {confidence:.2f}" if good else "no match: the way back ends elsewhere"
        print(f"({start[0]:g}, {start[1]:g}) -> ({end[0]:.1f}, {end[1]:.1f}), {told}")
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
