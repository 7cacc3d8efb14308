"""Gallery of pseudo-pairs: each original and its partners, found by latent exploration in the other domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.viz.sheet import INK, axes_at, new_figure, show, title, to_image

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

    DataError if there is no block, or the numbers of partners and originals differ.
    """
    if not blocks:
        raise DataError("nothing to draw: a gallery needs at least one block of originals")
    cell, gap, top, x = 1.2, 0.35, 0.98, 0.12
    width = sum(1 + len(block.partners) for block in blocks) * cell + gap * (len(blocks) - 1) + 0.24
    figure = new_figure(max(width, 4.2), max(len(block.originals) for block in blocks) * cell + top + 0.15, note)
    for block in blocks:
        for column, (domain, images) in enumerate([(block.domain, block.originals), *block.partners.items()]):
            if len(images) != len(block.originals):
                raise DataError(f"{len(images)} {domain} partners for {len(block.originals)} {block.domain} originals")
            for row, image in enumerate(images):
                axes = axes_at(figure, x, top + row * cell, cell - 0.06, cell - 0.06)
                show(axes, to_image(image), edge=None if column else ACCENT)
                if row == 0:
                    text = f"→ {domain}" if column else f"{domain} (original)"
                    axes.set_title(text, fontsize=9, color=INK if column else ACCENT, weight="bold", pad=4)
                if column and domain in block.scores:
                    _write_score(axes, float(block.scores[domain][row]))
            x += cell
        x += gap
    title(figure, heading, note)
    return figure


def _write_score(axes: Any, score: float) -> None:
    box = {"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.5}
    axes.text(0.97, 0.04, f"{score:.2f}", transform=axes.transAxes, ha="right", fontsize=7, color="white", bbox=box)
