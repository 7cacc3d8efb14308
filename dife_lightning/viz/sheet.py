"""Basics of all pictures: figures without a display, image panels, colours, saving."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.utils.files import atomic_buffer
from dife_lightning.viz.colors import FAINT as FAINT
from dife_lightning.viz.colors import INK as INK

#: Colours of landmarks, distinct on skin, fur and leaves; used in turn.
COLORS = ("#ff4d4d", "#ffa53b", "#ffe14d", "#7ee05a", "#3fd6c6", "#4da3ff", "#a678ff", "#ff6fd0", "#ffffff")
#: Colours of curves on white.
LINES = ("#2f6fde", "#e0562b", "#2a9d63", "#8a4fc9", "#c9971c", "#5d6675", "#c2387f", "#17a2b8")


def to_image(image: Tensor) -> NDArray[np.uint8]:
    """Return (3, H, W) in [-1, 1], clipped, as (H, W, 3) uint8."""
    scaled = (image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(1, 2, 0).numpy()


def new_figure(width: float, height: float, note: str = "") -> Figure:
    """Return an empty white figure, in inches, that needs no display and is wide enough for the note of its title."""
    figure = Figure(figsize=(max(width, note_width(note)) if note else width, height), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def at(figure: Figure, x: float, y: float) -> tuple[float, float]:
    """Turn a place in inches from the left and the top into shares of the figure."""
    width, height = figure.get_size_inches()
    return x / width, 1 - y / height


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Any:
    """Return new axes whose place and size are given in inches from the left and the top."""
    whole_width, whole_height = figure.get_size_inches()
    return figure.add_axes((*at(figure, left, top + height), width / whole_width, height / whole_height))


def title(figure: Figure, text: str, note: str = "") -> None:
    """Write a heading at the top left and a fainter line below it."""
    figure.text(*at(figure, 0.12, 0.12), text, fontsize=13, weight="bold", color=INK, va="top")
    if note:
        figure.text(*at(figure, 0.12, 0.40), note, fontsize=9, color=FAINT, va="top")


def note_width(note: str) -> float:
    """Return the width in inches of a note of :func:`title`, with margins."""
    text = new_figure(1, 1).text(0, 0, note, fontsize=9)
    # hinting makes drawn text wider than its outlines, by other shares at other resolutions
    return max(float(text.get_window_extent(dpi=dpi).width) / dpi for dpi in (100, 110, 150, 200, 300)) + 0.24


def short(name: str, most: int) -> str:
    """Return a name of at most ``most`` characters: of a longer one, its end."""
    return name if len(name) <= most else f"...{name[3 - most :]}"


def show(axes: Any, image: NDArray[Any], *, edge: str | None = None) -> None:
    """Draw an image without ticks; pixel centres are at integers, so points need no shift."""
    axes.imshow(image, interpolation="bicubic")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    for spine in axes.spines.values():
        spine.set_visible(edge is not None)
        spine.set_edgecolor(edge or "none")
        spine.set_linewidth(2.5)


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """Render a figure as (H, W, 3) uint8."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_figure(figure: Figure, path: str | Path, dpi: float | None = None) -> Path:
    """Write a figure as PNG, atomically; ``dpi`` defaults to that of the figure."""
    with atomic_buffer(path) as buffer:
        figure.savefig(buffer, format="png", dpi="figure" if dpi is None else dpi)
    return Path(path)


def send_to_loggers(loggers: Iterable[Any], name: str, image: NDArray[np.uint8], step: int) -> None:
    """Send an (H, W, 3) uint8 picture to every logger that accepts pictures (CSV does not)."""
    for logger in loggers:
        if callable(getattr(logger, "log_image", None)):
            logger.log_image(key=name, images=[image], step=step)
        elif callable(getattr(getattr(logger, "experiment", None), "add_image", None)):
            logger.experiment.add_image(name, image, step, dataformats="HWC")
