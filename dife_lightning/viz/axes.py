"""What all charts share: plain axes, ticks, bars of intervals, coloured tiles, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dife_lightning.viz.sheet import FAINT, INK

GRID = "#e6e8ee"
Corner = Literal["lower left", "lower center"]


def dress(axes: Any, *, grid: str = "y") -> None:
    """Draw a pale grid and the bottom line only; ``grid`` is ``x``, ``y`` or ``both``."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=FAINT, labelcolor=INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def label(axes: Any, *, x: str = "", y: str = "") -> None:
    """Label the axes."""
    axes.set_xlabel(x, fontsize=8, color=INK, labelpad=2)
    axes.set_ylabel(y, fontsize=8, color=INK)


def head(axes: Any, text: str, *, bold: bool = True) -> None:
    """Write a panel's title above its left end."""
    axes.set_title(text, fontsize=10, weight="bold" if bold else "normal", color=INK, loc="left", pad=6)


def as_percent(value: float, _: object = None) -> str:
    """Write a share as a percentage; also a formatter of ticks."""
    return f"{100 * value:g} %"


def interval(axes: Any, at: float, estimate: Sequence[float], color: str, *, upright: bool = True) -> None:
    """Draw a mean as a dot on the bar of its interval.

    ``estimate`` is mean, lower and upper end; its values run along y if ``upright``, else along x. ``at`` is the place
    on the other axis.
    """
    bar, dot = ([at, at], list(estimate[1:])), ([at], [estimate[0]])
    for (places, values), style in (
        (bar, {"linewidth": 2.2, "solid_capstyle": "round", "alpha": 0.75}),
        (dot, {"marker": "o", "markersize": 4.5}),
    ):
        axes.plot(*((places, values) if upright else (values, places)), color=color, zorder=3, **style)


def tile(column: int, row: int, color: Any) -> Rectangle:
    """Return the coloured cell of a table whose columns and rows lie at integers."""
    return Rectangle((column - 0.485, row - 0.46), 0.97, 0.92, facecolor=color, edgecolor="none")


def ink_on(color: Sequence[float]) -> str:
    """Return the colour of text that can be read on a colour (R, G, B, ...) in [0, 1]."""
    return "white" if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 0.5 else INK


def table_axes(axes: Any, columns: int, rows: Sequence[str]) -> None:
    """Make axes for tiles: the first row on top with its name at the left, no lines, no ticks below."""
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), rows, fontsize=9, color=INK)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def dot(name: str, color: str, *, shape: str = "o", **style: Any) -> Line2D:
    """Return a legend's entry for a point."""
    look: dict[str, Any] = {"linestyle": "none", "marker": shape, "markersize": 6, "color": color}
    return Line2D([], [], label=name, **{**look, **style})


def legend(figure: Figure, entries: Sequence[Line2D], *, columns: int = 0, loc: Corner = "lower left") -> None:
    """Explain the colours at the bottom of a figure, where the caller leaves room; in one row by default."""
    corner = {"bbox_to_anchor": (0.0, 0.0)} if loc == "lower left" else {}
    size, pad, spacing = (8, 0.1, 1.0) if columns else (9, 0.3, 1.4)
    look: dict[str, Any] = {"fontsize": size, "handletextpad": pad, "columnspacing": spacing}
    figure.legend(
        handles=list(entries), loc=loc, ncols=columns or len(entries), frameon=False, labelcolor=INK, **look, **corner
    )
