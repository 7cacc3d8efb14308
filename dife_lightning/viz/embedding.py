"""Sheet of dense embeddings as colours: in a good embedding, a colour is the same part of the face in all species."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.viz.sheet import INK, inches_grid, new_figure, show, title, to_image

Mode = Literal["pca", "first-three"]


def embedding_colors(embeddings: Tensor, mode: Mode = "pca") -> Tensor:
    """Turn embeddings into colours that are comparable across the batch.

    Args:
        embeddings: (B, n, h, w), n >= 3.
        mode: ``pca`` projects on three components fitted jointly over all pixels, with one scale for all;
            ``first-three`` takes the first three channels, scaled per image, as the official code does; these colours
            are not comparable between images.

    Returns:
        (B, 3, h, w) float32 in [0, 1].
    """
    if mode not in ("pca", "first-three"):
        raise ConfigError(f"colour mode '{mode}': expected pca or first-three")
    if embeddings.ndim != 4 or embeddings.shape[1] < 3:
        raise DataError(f"embeddings of shape {tuple(embeddings.shape)}: expected (B, n, h, w) with n >= 3")
    values = embeddings.detach().double().cpu()
    if mode == "first-three":
        values = values[:, :3]
        low, high = (f(values, dim=(1, 2, 3), keepdim=True) for f in (torch.amin, torch.amax))
        return ((values - low) / (high - low).clamp(min=1e-12)).float()
    return _joint_pca(values).float()


def _joint_pca(values: Tensor) -> Tensor:
    batch, channels, height, width = values.shape
    pixels = values.permute(0, 2, 3, 1).reshape(-1, channels)
    pixels = pixels - pixels.mean(0)
    directions = torch.linalg.eigh(pixels.T @ pixels).eigenvectors[:, -3:].flip(1)
    # A component's sign is arbitrary: fix it, so that the same data give the same colours everywhere.
    strongest = directions.abs().argmax(0)
    directions = directions * directions[strongest, torch.arange(3)].sign()
    projected = pixels @ directions
    ranked = projected.sort(dim=0).values
    low, high = ranked[int(0.01 * (len(ranked) - 1))], ranked[int(0.99 * (len(ranked) - 1))]
    colors = ((projected - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return colors.reshape(batch, height, width, 3).permute(0, 3, 1, 2)


def embedding_sheet(
    images: Mapping[str, Tensor],
    embeddings: Mapping[str, Mapping[str, Tensor]],
    *,
    mode: Mode = "pca",
    heading: str = "Embeddings",
    note: str = "",
) -> Figure:
    """Draw species as blocks of columns: images on top, one row of embeddings per method below.

    Args:
        images: species -> (B, 3, H, W) in [-1, 1].
        embeddings: method -> species -> (B, n, h, w); colours are joint over all species of a method.
        mode: see :func:`embedding_colors`.
        heading: large title.
        note: small line below it.
    """
    if not images or not embeddings:
        raise DataError("nothing to draw: an embedding sheet needs images and the embeddings of at least one method")
    counts = [len(batch) for batch in images.values()]
    cell, gap, top, left = 1.25, 0.12, 0.95, 1.25
    rows, columns = 1 + len(embeddings), sum(counts)
    width = max(left + columns * cell + gap * len(counts), 5.0)
    figure = new_figure(width, rows * cell + top + 0.12)
    outer = inches_grid(figure, rows, len(counts), top=top, bottom=0.12)
    outer.update(left=left / width, right=1 - 0.12 / width, wspace=gap / (cell * columns / len(counts)), hspace=0.04)
    outer.set_width_ratios(counts)
    for column, (species, batch) in enumerate(images.items()):
        _draw_row(figure, outer[0, column], [to_image(image) for image in batch], species)
    for row, (method, by_species) in enumerate(embeddings.items(), start=1):
        colors = embedding_colors(torch.cat([by_species[species] for species in images]), mode)
        for column, part in enumerate(colors.split(counts)):
            _draw_row(figure, outer[row, column], [color.permute(1, 2, 0).numpy() for color in part])
        box = outer[row, 0].get_position(figure)
        figure.text(
            box.x0 * 0.92,
            (box.y0 + box.y1) / 2,
            method.replace(" ", "\n"),
            ha="right",
            va="center",
            fontsize=9,
            color=INK,
        )
    title(figure, heading, note)
    return figure


def _draw_row(figure: Figure, cell: object, pictures: list[Any], label: str = "") -> None:
    inner = cell.subgridspec(1, len(pictures), wspace=0.03)  # type: ignore[attr-defined]
    for column, picture in enumerate(pictures):
        axes = figure.add_subplot(inner[column])
        show(axes, picture)
        if label and column == 0:
            axes.set_title(label, fontsize=10, weight="bold", color=INK, loc="left", pad=4)
