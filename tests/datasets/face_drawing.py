"""Simple pictures of faces with known points, to fill the layouts of data sets with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COUNTS = {
    "mafl-5": 5, "wflw-98": 98, "300w-68": 68, "ap10k-17": 17, "animalweb-9": 9, "horse-5": 5, "animalpose-20": 20,
    "catflw-48": 48, "dogflw-46": 46,
}  # fmt: skip


@dataclass
class Face:
    """One face to be written.

    Attributes:
        image: (H, W, 3) uint8.
        points: (K, 2), x then y, in the data set's scheme.
        group: species, category, collection or attributes joined by ``+``; every layout has a default.
        visible: (K,) bool, all by default. Layouts that cannot say so write all points.
        box: x0, y0, x1, y1, by default the extent of the visible points. Not all layouts have one.
        split: ``train``, ``val`` or ``test``.
        picture: stem of the picture's file, by default a number. Faces of one stem share the first one's picture, in
            layouts that can say so.
    """

    image: np.ndarray
    points: np.ndarray
    group: str = ""
    visible: np.ndarray = field(default_factory=lambda: np.ones(0, bool))
    box: Sequence[float] = ()
    split: str = "test"
    picture: str = ""

    def __post_init__(self) -> None:
        if not len(self.visible):
            self.visible = np.ones(len(self.points), bool)
        if not len(self.box):
            seen = np.asarray(self.points)[self.visible]
            self.box = [float(v) for v in (*seen.min(0), *seen.max(0))]


def draw_face(scheme: str, seed: int = 0, size: tuple[int, int] = (96, 80), **more: Any) -> Face:
    """Draw a dark oval with a white mark, 3 x 3 pixels, at each point of a scheme; no two marks touch.

    Args:
        scheme: gives the number of points.
        seed: of the points' places and the background.
        size: height and width, from about 90 on.
        **more: further fields of the face.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    image = np.full((height, width, 3), 16 + 8 * (seed % 8), np.uint8)
    y, x = np.indices(size)
    image[((x - width / 2) / width) ** 2 + ((y - height / 2) / height) ** 2 < 0.16] = (90, 70, 50)
    columns, rows = (width - 6) // 6, (height - 6) // 6
    cells = rng.permutation(columns * rows)[: COUNTS[scheme]]
    points = np.stack((cells % columns, cells // columns), -1) * 6 + rng.integers(4, 6, 2)
    for px, py in points:
        image[py - 1 : py + 2, px - 1 : px + 2] = 255
    return Face(image, points.astype(np.float64), **more)


def save_picture(path: Path, image: np.ndarray | Image.Image, **options: Any) -> None:
    """Write a picture, JPEG with little loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options = {"quality": 98, "subsampling": 0, **options}
    picture.save(path, **options)
