"""``dife dense``: a grid of points inside a face, carried to the faces of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import add_photo_options, each_face, parse_where
from dife_lightning.cli.photo_outputs import refuse_to_replace
from dife_lightning.utils.notes import many

_ABOUT = """
Carries a grid of points inside the face of SOURCE to the faces of PHOTOS (photos or folders), of any species. Writes
dense.png (the first faces, with points in the colours of their places) and dense.json (all points in pixels of each
photo, with confidence, cycle error and whether they are matched) to FOLDER.

examples:
  dife dense person.jpg cats dogs
  dife dense person.jpg cats --grid 20 --extent 0.6
"""
#: Faces on the sheet, beside the source.
SHEET = 17
SHEET_FILE = "dense.png"


def run(verb: str, args: list[str]) -> int:
    """Carry a grid to photos."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife dense SOURCE PHOTOS... [options]", epilog=_ABOUT)
    parser.add_argument("source", help="photo of a face")
    parser.add_argument("photos", nargs="+", help="photos, or folders of photos")
    parser.add_argument("--grid", type=int, default=12, help="points along each side of the grid (12)")
    parser.add_argument("--extent", type=float, default=0.42, help="share of the face's square that it spans (0.42)")
    parser.add_argument("--face", default="auto", metavar="WHERE", help="face of SOURCE: auto, whole, or a box (auto)")
    parser.add_argument("--max_cycle", type=float, default=0.06, help="largest cycle error of a match (0.06)")
    add_photo_options(parser, "dense")
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    where = parse_where(own.face)
    from dife_lightning.applications.dense_grid import DenseGrid
    from dife_lightning.applications.photo_lists import target_photos

    _, photos = target_photos(own.photos, own.faces, own.out)
    refuse_to_replace([own.source, *(photo.file for photo in photos)], [Path(own.out) / SHEET_FILE])
    options: dict[str, Any] = {"size": own.size, "max_cycle": own.max_cycle}
    grid = DenseGrid(own.source, where, own.grid, own.extent, own.model, **options)
    carried, pictures = list[Any](), list[Any]()
    for batch in each_face(grid.transfer.eyes, photos):
        carried += zip([one.name for one in batch], grid.transfer.carry([one.face for one in batch]), strict=True)
        pictures += [one.face.picture for one in batch[: SHEET - len(pictures)]]
    _write(own, grid, carried, pictures)
    return 0


def _write(own: Any, grid: Any, carried: Any, pictures: Any) -> None:
    import numpy as np

    from dife_lightning.applications.face_crops import PICTURE
    from dife_lightning.geometry.affine_crops import invert_affine, map_points
    from dife_lightning.utils.files import write_json
    from dife_lightning.viz.dense_grid import grid_sheet
    from dife_lightning.viz.sheet import save_figure

    found = {
        name: {
            "points": one.points.astype(float).round(2),
            "confidence": one.confidence.astype(float).round(4),
            "cycle_error": one.cycle_error.astype(float).round(4),
            "matched": one.matched,
        }
        for name, one in carried
    }
    folder = Path(own.out)
    write_json(folder / "dense.json", {"source": own.source, "grid": grid.grid.round(2), "targets": found})
    kept = [one.matched for _, one in carried[:SHEET]]
    faces = [(grid.source, grid.grid), *((one.face, one.points) for _, one in carried[:SHEET])]
    inside = [map_points(invert_affine(face.square.matrix(PICTURE)), points) for face, points in faces]
    names = [Path(own.source).name, *(name for name, _ in carried[:SHEET])]
    sheet = grid_sheet([grid.source.picture, *pictures], inside, [np.any(kept, axis=0), *kept], names, grid.places)
    save_figure(sheet, folder / SHEET_FILE)
    share = 100 * np.mean([one.matched for _, one in carried])
    text = f"{len(grid.grid)} points carried to {many(len(carried), 'face')}, {share:.0f} % of them matched"
    print(f"{text}; see {folder / SHEET_FILE}")
