"""Picture of a dense match: the same places in the same colours, and the second photo warped onto the first.

It is drawn without matplotlib, whose import takes a fifth of the time of ``dife match``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dife_lightning.viz.colors import FAINT, INK, place_colors

#: Side of a panel, gap between two, and margins, in pixels.
PANEL, GAP, MARGIN, HEAD, FOOT = 286, 9, 13, 99, 22
#: Places in a row of the grid that is drawn, how many of these rows apart the joined ones are, and squares in a row of
#: the checkerboard.
PLACES, JOINED, SQUARES = 14, 2, 8


def match_sheet(
    crops: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    places: NDArray[np.float32],
    matched: NDArray[np.bool_],
    note: str = "",
) -> NDArray[np.uint8]:
    """Draw two faces with their matched places, the second one warped onto the first, and both as a checkerboard.

    Args:
        crops: (S, S, 3) uint8 of both faces.
        places: (h, w, 2) where the cells of the first crop are in the second one, in its pixels.
        matched: (h, w) bool; other cells are not drawn, and grey in the warped picture.
        note: line below the heading.

    Returns:
        The picture (H, W, 3) uint8.
    """
    first, second = crops
    side = len(first)
    warped = warped_onto(second, places, matched)
    rows, columns = np.indices((side, side)) * SQUARES // side
    board = np.where(((rows + columns) % 2 == 0)[..., None], first, warped)
    height, width = matched.shape
    chosen = np.zeros_like(matched)
    step = max(1, round(width / PLACES))
    chosen[step // 2 :: step, step // 2 :: step] = True
    chosen &= matched
    ys, xs = np.nonzero(chosen)
    colors = place_colors(np.stack((xs / width, ys / height), axis=-1))
    here = (np.stack((xs, ys), axis=-1) + 0.5) * (PANEL / width) - 0.5
    there = (places[chosen] + 0.5) * (PANEL / side) - 0.5
    joined = (xs // step % JOINED == 1) & (ys // step % JOINED == 1)
    pair = np.concatenate((_enlarged(first), np.full((PANEL, GAP, 3), 255, np.uint8), _enlarged(second)), axis=1)
    _join(pair, here[joined], there[joined] + [PANEL + GAP, 0], colors[joined])
    panels = [
        (_dotted(pair[:, :PANEL], here, colors), "first"),
        (_dotted(pair[:, PANEL + GAP :], there, colors), "second; lines join some of the equal places"),
        (_enlarged(warped), "second, warped onto first"),
        (_enlarged(board), "checkerboard"),
    ]
    sheet = Image.new("RGB", (2 * MARGIN + 4 * PANEL + 3 * GAP, HEAD + PANEL + FOOT), "white")
    draw = ImageDraw.Draw(sheet)
    large, medium, small = (ImageFont.load_default(size) for size in (20, 14, 12))
    draw.text((MARGIN, MARGIN), "Dense correspondence", INK, large)
    draw.text((MARGIN, 43), note, FAINT, medium)
    for k, (panel, text) in enumerate(panels):
        left = MARGIN + k * (PANEL + GAP)
        sheet.paste(Image.fromarray(panel), (left, HEAD))
        draw.text((left, HEAD - 4), text, INK, medium, anchor="ls")
    foot = (sheet.width // 2, HEAD + PANEL + FOOT // 2)
    draw.text(foot, "equal colours: the same place", FAINT, small, anchor="mm")
    return np.asarray(sheet)


def warped_onto(image: NDArray[np.uint8], target: NDArray[np.float32], matched: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return ``image`` (S, S, 3) sampled at ``target`` (h, w, 2), in its pixels; grey where nothing is matched."""
    side = len(image)
    field = cv2.resize(target.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    warped = cv2.remap(image, field[..., 0], field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.resize(matched.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST).astype(bool)
    return np.where(known[..., None], warped, 160).astype(np.uint8)


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(image).resize((PANEL, PANEL), Image.Resampling.BICUBIC))


def _join(
    picture: NDArray[np.uint8], starts: NDArray[np.floating], ends: NDArray[np.floating], colors: NDArray[np.float64]
) -> None:
    """Draw transparent lines from ``starts`` (P, 2) to ``ends`` (P, 2); changes the picture."""
    lines = picture.copy()
    for start, end, color in zip(starts, ends, colors, strict=True):
        (x0, y0), (x1, y1) = ([int(v) for v in np.round(np.clip(point, -999, 9999))] for point in (start, end))
        cv2.line(lines, (x0, y0), (x1, y1), tuple(float(v) for v in np.round(255 * color)), 2, cv2.LINE_AA)
    picture[:] = (picture.astype(np.uint16) + 2 * lines.astype(np.uint16)) // 3


def _dotted(panel: NDArray[np.uint8], points: NDArray[np.floating], colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Draw a disc with a black edge at each of ``points`` (P, 2), in pixels of the panel; changes the panel."""
    shift = 4  # places in sixteenths of a pixel
    for point, color in zip(points, colors, strict=True):
        centre = [int(v) for v in np.round(np.clip(point, -99, 999) * 2**shift)]
        for radius, shade in ((4.6, (0, 0, 0)), (3.8, tuple(float(v) for v in np.round(255 * color)))):
            cv2.circle(panel, centre, round(radius * 2**shift), shade, cv2.FILLED, cv2.LINE_AA, shift)
    return panel
