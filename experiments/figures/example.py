"""The picture of the README's example: ``python -m experiments.figures.example``.

Needs scikit-image, whose photographs astronaut (NASA, public domain) and chelsea (CC0) may be shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.common.commands import guarded

#: Eyes and nose of the person, and of the cat as marked by hand, in pixels of the squares.
PERSON, CAT = [[46, 57], [92, 60], [67, 82]], [[77, 117], [223, 136], [168, 245]]


def main(words: Sequence[str] | None = None) -> int:
    """Draw; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figures.example", description=__doc__)
    parser.add_argument("--model", default="photos/dife", help="shipped method, run or checkpoint (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/photos.png"), help="picture to write (%(default)s)")
    options = parser.parse_args(words)
    return guarded(lambda: draw(options.model, options.out), "run the same command to start again")


def draw(name: str, out: Path) -> None:
    """Transfer the points with a method and write the picture."""
    from skimage.data import astronaut, chelsea

    import dife_lightning as dl
    from dife_lightning.faces.transforms import resize
    from dife_lightning.viz.sheet import save_figure
    from dife_lightning.viz.transfer import TransferExample, transfer_sheet

    images, points = (astronaut()[45:180, 156:291], chelsea()[:, 95:395]), (PERSON, CAT)
    found = dl.load(name).transfer(images, PERSON, window=0.25).numpy()
    faces = [resize(image, np.array(p, np.float32), 256) for image, p in zip(images, points, strict=True)]
    (source, source_points), (target, target_points) = faces
    predicted = resize(images[1], found, 256)[1]
    error = float(np.linalg.norm(predicted - target_points, axis=1).mean() * 70 / 256)
    example = TransferExample(source, target, source_points, target_points, predicted, np.ones(3, bool), error)
    sheet = transfer_sheet([example], ["left_eye", "right_eye", "nose"], columns=1, heading="From a person to a cat")
    save_figure(sheet, out)


if __name__ == "__main__":
    raise SystemExit(main())
