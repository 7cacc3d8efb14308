"""Sheet of dense embeddings as colours: in a good embedding, a colour is the same part of the face in all species."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.viz.sheet import INK, at, axes_at, new_figure, short, show, title, to_image

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
    values = embeddings.detach().cpu().double()
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
    names: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw species as blocks of columns: images on top, one row of embeddings per method below.

    ``images``: species -> (B, 3, H, W) in [-1, 1]. ``embeddings``: method -> species -> (B, n, h, w); colours are joint
    over all species of a method (see :func:`embedding_colors` for ``mode``). ``names``: species -> B names, above the
    images in place of the species.
    """
    if not images or not embeddings:
        raise DataError("nothing to draw: an embedding sheet needs images and the embeddings of at least one method")
    counts = [len(batch) for batch in images.values()]
    cell, gap, top, left = 1.25, 0.12, 0.95, 1.25
    width = left + sum(counts) * cell + gap * len(counts)
    figure = new_figure(max(width, 5.0), (1 + len(embeddings)) * cell + top + 0.12, note)
    rows = {"": [[to_image(image) for image in batch] for batch in images.values()]}
    for method, by_species in embeddings.items():
        colors = embedding_colors(torch.cat([by_species[species] for species in images]), mode)
        rows[method] = [list(part.permute(0, 2, 3, 1).numpy()) for part in colors.split(counts)]
    for row, (method, blocks) in enumerate(rows.items()):
        x, y = left, top + row * cell
        place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 9, "color": INK}
        figure.text(*at(figure, left - 0.1, y + cell / 2), method.replace(" ", "\n"), **place)
        for species, pictures in zip(images, blocks, strict=True):
            for number, picture in enumerate(pictures):
                axes = axes_at(figure, x + number * cell, y, cell - 0.04, cell - 0.04)
                show(axes, picture)
                if row == 0 and names is not None:
                    axes.set_title(short(names[species][number], 21), fontsize=7, color=INK, loc="left", pad=3)
                elif row == number == 0:
                    axes.set_title(species, fontsize=10, weight="bold", color=INK, loc="left", pad=4)
            x += len(pictures) * cell + gap
    title(figure, heading, note)
    return figure
