"""Draw the objects that `dife overlay` ships, on the drawn reference face: `python -m experiments.build.objects`."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dife_lightning.applications.overlay import FOLDER, REFERENCE_SIDE
from dife_lightning.utils.files import atomic_buffer

#: Drawn at this many times their size, so that edges are smooth.
_FINE = 4
#: Of the reference face, in its pixels: the eyes, the bridge of the nose, the cheeks and the chin, the top of the head.
_EYES, _BRIDGE = ((93, 126), (157, 125)), (125, 122)
Points = list[tuple[float, float]]


def main() -> None:
    """Write all objects."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in (("glasses", glasses), ("mask", mask), ("hat", hat)):
        side = REFERENCE_SIDE * _FINE
        canvas = np.zeros((side, side, 4), np.uint8)
        draw(canvas)
        premultiplied = canvas.astype(np.float32)
        premultiplied[..., :3] *= premultiplied[..., 3:] / 255
        side = REFERENCE_SIDE
        small = np.asarray(cv2.resize(premultiplied, (side, side), interpolation=cv2.INTER_AREA), np.float32)
        small[..., :3] /= np.maximum(small[..., 3:], 1) / 255
        image = Image.fromarray(small.round().clip(0, 255).astype(np.uint8), "RGBA")
        with atomic_buffer(FOLDER / f"{name}.png") as buffer:
            image.save(buffer, format="PNG", optimize=True)


def glasses(canvas: NDArray[np.uint8]) -> None:
    """Round glasses with temples."""
    for x, y in _EYES:
        _disc(canvas, (x, y), 25, (120, 170, 200, 70))
        cv2.circle(canvas, _at(x, y), 25 * _FINE, (25, 25, 35, 255), 4 * _FINE, cv2.LINE_AA)
    _line(canvas, [(118, 124), _BRIDGE, (132, 124)], 4, (25, 25, 35, 255))
    _line(canvas, [(68, 123), (54, 119)], 4, (25, 25, 35, 255))
    _line(canvas, [(182, 122), (205, 118)], 4, (25, 25, 35, 255))


def mask(canvas: NDArray[np.uint8]) -> None:
    """A surgical mask over nose, mouth and chin."""
    outline: Points = [(80, 155), (102, 146), (125, 142), (148, 146), (170, 154), (172, 180), (158, 205), (140, 219),
                       (125, 223), (108, 218), (90, 203), (79, 180)]  # fmt: skip
    _line(canvas, [(80, 157), (48, 143)], 3, (235, 240, 243, 255))
    _line(canvas, [(170, 156), (207, 142)], 3, (235, 240, 243, 255))
    _line(canvas, [(82, 188), (52, 160)], 3, (235, 240, 243, 255))
    _line(canvas, [(169, 188), (203, 158)], 3, (235, 240, 243, 255))
    cv2.fillPoly(canvas, [_many(outline)], (150, 205, 225, 255), cv2.LINE_AA)
    for y in (166, 182, 198):
        _line(canvas, [(84 + (y - 166) / 4, y), (125, y + 4), (167 - (y - 166) / 4, y)], 1.5, (110, 165, 190, 255))
    cv2.polylines(canvas, [_many(outline)], True, (110, 165, 190, 255), 2 * _FINE, cv2.LINE_AA)


def hat(canvas: NDArray[np.uint8]) -> None:
    """A party hat on the top of the head."""
    outline: Points = [(84, 60), (125, -2), (166, 60), (146, 68), (125, 70), (104, 68)]
    cv2.fillPoly(canvas, [_many(outline)], (214, 60, 88, 255), cv2.LINE_AA)
    for k, y in enumerate((18, 36, 54)):
        half = (y + 2) * 0.62
        _line(canvas, [(125 - half, y), (125, y + 5 + 2 * k), (125 + half, y)], 4, (250, 206, 76, 255))
    _disc(canvas, (125, 6), 6, (250, 240, 220, 255))


def _disc(canvas: NDArray[np.uint8], centre: tuple[float, float], radius: float, color: tuple[int, ...]) -> None:
    cv2.circle(canvas, _at(*centre), round(radius * _FINE), color, -1, cv2.LINE_AA)


def _line(canvas: NDArray[np.uint8], points: Points, width: float, color: tuple[int, ...]) -> None:
    cv2.polylines(canvas, [_many(points)], False, color, round(width * _FINE), cv2.LINE_AA)


def _at(x: float, y: float) -> tuple[int, int]:
    return round((x + 0.5) * _FINE), round((y + 0.5) * _FINE)


def _many(points: Points) -> NDArray[np.int32]:
    return np.array([_at(*point) for point in points], np.int32)


if __name__ == "__main__":
    main()
