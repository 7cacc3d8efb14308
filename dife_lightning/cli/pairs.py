"""``dife pairs``: a gallery of the pseudo-pairs of a trained DIFE."""

from __future__ import annotations

from pathlib import Path

from dife_lightning.cli.options import VerbParser, results_folder
from dife_lightning.utils.notes import many

_ABOUT = """
Draws originals of each domain of a trained DIFE, and the partners that latent exploration finds for them in each
domain. Writes pairs.png and pairs.json to FOLDER; the latter has the distances of features before and after the
exploration, that of w to its mean, and how alike the geometries are. The generators of the run must be where its
training had them.

examples:
  dife pairs photos/dife
  dife pairs runs/first --count 8 --drawing 3
"""


def run(verb: str, args: list[str]) -> int:
    """Draw pseudo-pairs."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife pairs RUN [options]", epilog=_ABOUT)
    parser.add_argument("run", help="a trained DIFE: a run, a checkpoint, or photos/dife")
    parser.add_argument("--count", type=int, default=5, help="originals of each domain (5)")
    parser.add_argument("--drawing", type=int, default=0, help="number of the drawing of originals (0)")
    parser.add_argument("--out", type=results_folder, default="pairs", metavar="FOLDER", help="where to write (pairs)")
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    from typing import Any

    import torch

    from dife_lightning.applications.pair_gallery import make_pairs, pair_rows, pair_sheet
    from dife_lightning.loading import load
    from dife_lightning.utils.files import write_json
    from dife_lightning.viz.sheet import save_figure

    dife: Any = load(own.run)
    made = make_pairs(dife, own.count, own.drawing)
    folder = Path(own.out)
    with torch.no_grad():
        rows = pair_rows(dife, made)
    save_figure(pair_sheet(dife, made), folder / "pairs.png")
    write_json(folder / "pairs.json", {"run": own.run, "drawing": own.drawing, "seed": dife.seed, "pairs": rows})
    print(f"{many(len(rows), 'pair')}; see {folder / 'pairs.png'}")
    return 0
