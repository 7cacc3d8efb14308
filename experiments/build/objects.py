"""Draw the objects that `dife overlay` ships, on the drawn reference face: `python -m experiments.build.objects`."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dife_lightning.applications.overlay import FOLDER, REFERENCE_SIDE
from dife_lightning.utils.files import atomic_buffer

#: Drawn at this many times their size, so that edges are smooth.
_FINE = 4
#: Of the reference face, in its pixels: the eyes and the bridge of the nose. The colour of the glasses.
_EYES, _BRIDGE = ((93, 126), (157, 125)), (125, 122)
_FRAME = (25, 25, 35, 255)
Points = Sequence[tuple[float, float]]


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
    """Round glasses, whose temples fade towards the ears."""
    for x, y in _EYES:
        _disc(canvas, (x, y), 25, (120, 170, 200, 70))
    for x, y, end in ((68, 123, (54, 119)), (182, 122, (205, 118))):
        _fading(canvas, [(x, y), end], 5, _FRAME)
    for x, y in _EYES:
        cv2.circle(canvas, _at(x, y), 25 * _FINE, _FRAME, 4 * _FINE, cv2.LINE_AA)
    _line(canvas, [(118, 124), _BRIDGE, (132, 124)], 4, _FRAME)


def mask(canvas: NDArray[np.uint8]) -> None:
    """A surgical mask over nose, mouth and chin, whose straps fade towards the ears."""
    outline: Points = [(80, 155), (102, 146), (125, 142), (148, 146), (170, 154), (172, 180), (158, 205), (140, 219),
                       (125, 223), (108, 218), (90, 203), (79, 180)]  # fmt: skip
    for strap in (
        [(82, 157), (70, 151), (61, 144)],
        [(168, 156), (180, 150), (190, 143)],
        [(82, 190), (68, 179), (60, 165)],
        [(169, 190), (183, 178), (191, 164)],
    ):
        _fading(canvas, strap, 3, (235, 240, 243, 255))
    cv2.fillPoly(canvas, [_many(outline)], (150, 205, 225, 255), cv2.LINE_AA)
    for y in (166, 182, 198):
        _line(canvas, [(84 + (y - 166) / 4, y), (125, y + 4), (167 - (y - 166) / 4, y)], 1.5, (110, 165, 190, 255))
    cv2.polylines(canvas, [_many(outline)], True, (110, 165, 190, 255), 2 * _FINE, cv2.LINE_AA)


def hat(canvas: NDArray[np.uint8]) -> None:
    """A felt hat that is pulled down to the brows: foreheads of animals are low, and photos often end above them."""
    felt, shade, ribbon = (190, 52, 76, 255), (150, 36, 60, 255), (250, 206, 76, 255)
    _ellipse(canvas, (125, 84), (94, 17), shade)  # the brim from below
    _ellipse(canvas, (125, 81), (94, 15), felt)
    crown: Points = [(60, 82), (60, 52), (68, 22), (84, 8), (104, 3), (116, 9), (125, 12), (134, 9), (146, 3), (166, 8),
                     (182, 22), (190, 52), (190, 82)]  # fmt: skip
    arc: Points = [(125 + 65 * float(np.cos(t)), 82 + 10 * float(np.sin(t))) for t in np.linspace(0, np.pi, 40)]
    cv2.fillPoly(canvas, [_many([*crown, *arc])], felt, cv2.LINE_AA)
    band: Points = [(60.5, 62), *((x, y - 20) for x, y in reversed(arc)), (189.5, 62)]
    cv2.fillPoly(canvas, [_many([*band, *arc])], ribbon, cv2.LINE_AA)
    _line(canvas, [(104, 4), (116, 10), (125, 13), (134, 10), (146, 4)], 2, shade)
    _line(canvas, [(125, 13), (124, 30), (122, 44)], 2, shade)
    _line(canvas, arc, 2, shade)


def _ellipse(
    canvas: NDArray[np.uint8], centre: tuple[float, float], radii: tuple[float, float], color: tuple[int, ...]
) -> None:
    axes = (round(radii[0] * _FINE), round(radii[1] * _FINE))
    cv2.ellipse(canvas, _at(*centre), axes, 0, 0, 360, color, -1, cv2.LINE_AA)


def _fading(canvas: NDArray[np.uint8], points: Points, width: float, color: tuple[int, ...]) -> None:
    """Draw a line that is opaque at its start and ends in nothing: faces end in other places."""
    steps = np.linspace(0, len(points) - 1, 120)
    x, y = (np.interp(steps, np.arange(len(points)), axis) for axis in np.array(points, float).T)
    alphas = 255 * np.clip(1.6 * (1 - steps / steps[-1]), 0, 1)
    for k, alpha in enumerate(alphas[:-1]):
        _line(canvas, [(x[k], y[k]), (x[k + 1], y[k + 1])], width, (*color[:3], round(float(alpha))))


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
