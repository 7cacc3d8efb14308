"""``dife export``: a trained network for programs without this package."""

from __future__ import annotations

from pathlib import Path

from dife_lightning.cli.options import VerbParser

_ABOUT = """
Writes the encoder of a trained method, or the network of a landmark model, as ONNX (it needs `pip install
'dife-lightning[onnx]'`) or as an exported program of torch (pt2). Its input is RGB in [-1, 1], (B, 3, H, W); batch,
height and width are free where the network allows it. The file holds what its user must know, such as the side of the
images.

examples:
  dife export photos/dife                       # dife.onnx
  dife export runs/first --to pt2 --out first.pt2
"""


def run(verb: str, args: list[str]) -> int:
    """Export a network."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife export RUN [options]", epilog=_ABOUT)
    parser.add_argument("run", help="a run, a checkpoint or a shipped name")
    parser.add_argument("--to", default="onnx", metavar="FORM", help="onnx or pt2 (onnx)")
    parser.add_argument("--size", type=int, help="side of the images to trace with (that of the training)")
    parser.add_argument("--out", metavar="FILE", help="file to write (the name of the run)")
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    from dife_lightning.applications.export import export

    path = Path(own.out or f"{Path(own.run).stem}.{own.to}")
    said = export(own.run, path, own.to, own.size)
    free = ", ".join(said["free"]) or "nothing"
    print(f"{path}: {said['output']} of images of {said['size']} px; free: {free}")
    return 0
