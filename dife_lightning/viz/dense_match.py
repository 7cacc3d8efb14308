"""Picture of a dense match: the same places in the same colours, and the second photo warped onto the first."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dife_lightning.viz.sheet import FAINT, INK, axes_at, new_figure, show, title

#: Side of a panel in inches, and places in a row of the grid that is drawn.
PANEL, PLACES = 2.6, 14
#: Squares in a row of the checkerboard.
SQUARES = 8


def match_sheet(
    crops: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    places: NDArray[np.float32],
    matched: NDArray[np.bool_],
    note: str = "",
) -> Figure:
    """Draw two faces with their matched places, the second one warped onto the first, and both as a checkerboard.

    Args:
        crops: (S, S, 3) uint8 of both faces.
        places: (h, w, 2) where the cells of the first crop are in the second one, in its pixels.
        matched: (h, w) bool; other cells are not drawn, and grey in the warped picture.
        note: line below the heading.
    """
    first, second = crops
    side = len(first)
    warped = warped_onto(second, places, matched)
    rows, columns = np.indices((side, side)) * SQUARES // side
    board = np.where(((rows + columns) % 2 == 0)[..., None], first, warped)
    figure = new_figure(4 * PANEL + 0.5, PANEL + 1.1, note)
    panels = [(first, "first"), (second, "second"), (warped, "second, warped onto first"), (board, "checkerboard")]
    axes = []
    for k, (image, text) in enumerate(panels):
        axes.append(axes_at(figure, 0.12 + k * (PANEL + 0.08), 0.9, PANEL, PANEL))
        show(axes[-1], image)
        axes[-1].set_title(text, fontsize=9, color=INK, loc="left", pad=3)
    height, width = matched.shape
    chosen = np.zeros_like(matched)
    step = max(1, round(width / PLACES))
    chosen[step // 2 :: step, step // 2 :: step] = True
    chosen &= matched
    ys, xs = np.nonzero(chosen)
    colors = place_colors(np.stack((xs / width, ys / height), axis=-1))
    here = (np.stack((xs, ys), axis=-1) + 0.5) * (side / width) - 0.5
    for panel, points in ((axes[0], here), (axes[1], places[chosen])):
        panel.scatter(*points.T, c=colors, s=26, edgecolors="black", linewidths=0.5)
    title(figure, "Dense correspondence", note)
    figure.text(0.5, 0.02, "equal colours: the same place", fontsize=8, color=FAINT, ha="center")
    return figure


def place_colors(places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a colour (P, 3) in [0, 1] for each place (P, 2) of a face: hue by its column, brightness by its row."""
    across, down = places.T
    return np.asarray(hsv_to_rgb(np.stack((0.8 * across, np.full(len(places), 0.9), 1 - 0.6 * down), axis=-1)))


def warped_onto(image: NDArray[np.uint8], target: NDArray[np.float32], matched: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return ``image`` (S, S, 3) sampled at ``target`` (h, w, 2), in its pixels; grey where nothing is matched."""
    side = len(image)
    field = cv2.resize(target.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    warped = cv2.remap(image, field[..., 0], field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.resize(matched.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST).astype(bool)
    return np.where(known[..., None], warped, 160).astype(np.uint8)
