"""Gallery of pseudo-pairs: each original and its partners, found by latent exploration in the other domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.viz.sheet import FAINT, INK, inches_grid, new_figure, show, title, to_image

ACCENT = "#2f6fde"


@dataclass(frozen=True)
class GalleryBlock:
    """Originals (B, 3, H, W) of one domain and their partners, domain -> (B, 3, H, W), all in [-1, 1].

    ``scores``: domain -> (B,) numbers to write on the partners, for example feature distances.
    """

    domain: str
    originals: Tensor
    partners: Mapping[str, Tensor]
    scores: Mapping[str, Tensor] = field(default_factory=dict)


def gallery(blocks: Sequence[GalleryBlock], *, heading: str = "Pseudo-pairs", note: str = "") -> Figure:
    """Draw the blocks side by side; a row is one original (framed) and its partners.

    Raises:
        DataError: no block, or the numbers of partners and originals differ.
    """
    _check(blocks)
    rows = max(len(block.originals) for block in blocks)
    widths = [1 + len(block.partners) for block in blocks]
    cell, gap, top = 1.2, 0.35, 0.98
    width = sum(widths) * cell + gap * (len(blocks) - 1) + 0.24
    figure = new_figure(max(width, 4.2), rows * cell * 1.08 + top + 0.15)
    outer = inches_grid(figure, 1, len(blocks), top=top, bottom=0.15)
    outer.update(wspace=gap / (cell * sum(widths) / len(blocks)))
    outer.set_width_ratios(widths)
    for number, block in enumerate(blocks):
        _draw_block(figure, outer[0, number], block, rows)
    title(figure, heading, note)
    return figure


def _check(blocks: Sequence[GalleryBlock]) -> None:
    if not blocks:
        raise DataError("nothing to draw: a gallery needs at least one block of originals")
    for block in blocks:
        for domain, partners in block.partners.items():
            if len(partners) != len(block.originals):
                raise DataError(
                    f"{len(partners)} {domain} partners for {len(block.originals)} {block.domain} originals"
                )


def _draw_block(figure: Figure, cell: object, block: GalleryBlock, rows: int) -> None:
    inner = cell.subgridspec(rows, 1 + len(block.partners), wspace=0.04, hspace=0.08)  # type: ignore[attr-defined]
    for column, (domain, images) in enumerate([(block.domain, block.originals), *block.partners.items()]):
        for row, image in enumerate(images):
            axes = figure.add_subplot(inner[row, column])
            show(axes, to_image(image), edge=ACCENT if column == 0 else None)
            if row == 0:
                label = f"{domain} (original)" if column == 0 else f"→ {domain}"
                axes.set_title(label, fontsize=9, color=INK if column else ACCENT, weight="bold", pad=4)
            if column and domain in block.scores:
                score = float(block.scores[domain][row])
                axes.text(
                    0.97,
                    0.04,
                    f"{score:.2f}",
                    transform=axes.transAxes,
                    ha="right",
                    fontsize=7,
                    color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": FAINT, "linewidth": 0, "pad": 1.5},
                )
