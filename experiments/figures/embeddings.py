"""The paper's figure 4: embeddings in colour; the same colour should mean the same part of any species' face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.data.images import to_float
from dife_lightning.errors import DataError
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.viz.embedding import Mode, embedding_sheet
from experiments.common.plan import check_names
from experiments.figures.gallery import Gallery

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule


@torch.no_grad()
def embeddings(
    gallery: Gallery, kinds: Sequence[str], each: int, *, model: str | None, colors: Mode, count: int | None = None
) -> tuple[Figure, dict[str, Any]]:
    """Draw the figure; returns it and what it shows.

    Args:
        gallery: the rows; those without an embedding are left out.
        kinds: kinds of pair whose faces are drawn.
        each: number of faces of each species.
        model: its runs embed all species; None takes the model of most species.
        colors: see :func:`~dife_lightning.viz.embedding.embedding_colors`.
        count: pairs in the list in place of its own number.
    """
    model = model_of(gallery, model)
    measure = gallery.plan.measure
    measure = replace(measure, lists=measure.lists[:1], framings=measure.framings[-1:])
    names, faces = first_faces(measure.prepared(kinds, count), each)
    images = {name: to_float(torch.from_numpy(np.stack(f)).permute(0, 3, 1, 2)) for name, f in faces.items()}
    found: dict[str, dict[str, Tensor]] = {}
    for row in gallery.rows:
        method = gallery.models(row, [model]).get(model)
        if isinstance(method, EmbedderModule):
            print(f"{row.name} ...", flush=True)
            found[row.name] = {species: method.embed(batch) for species, batch in images.items()}
        elif method is not None:
            del gallery.used[row.name]
            gallery.left_out.append(f"{row.name}: it works without an embedding, and figure 4 shows embeddings")
    if not found:
        raise DataError("none of the rows has an embedding: name others with --rows, such as surface-teacher,dife")
    trained = model.split("_") if any(row.trained and row.name in found for row in gallery.rows) else []
    unseen = [species for species in images if trained and species not in trained]
    figure = embedding_sheet(images, found, mode=colors, heading="Embeddings", note=_note(colors, trained, unseen))
    return figure, {"model": model, "unseen": unseen, "colors": colors, "faces": names}


def _note(colors: Mode, trained: Sequence[str], unseen: Sequence[str]) -> str:
    what = {
        "pca": "three principal components as colours, fitted over all faces of a row",
        "first-three": "the first three channels as colours, scaled for each image",
    }[colors]
    seen = f"; trained rows: one model of {', '.join(trained)}" if trained else ""
    new = f", which never saw {' or '.join(unseen)}" if unseen else ""
    return f"{what}{seen}{new}"


def model_of(gallery: Gallery, wanted: str | None) -> str:
    """Return the model whose runs are drawn: ``wanted``, or the one of most species with a run of the reference row.

    Raises:
        ConfigError: the plan has no such model.
    """
    models = sorted(gallery.plan.models(), key=lambda name: -len(name.split("_")))
    if wanted is not None:
        check_names("no model {} in the table", [wanted], models)
        return wanted
    trained = [row for row in gallery.rows if row.trained]
    usual = [row for row in trained if row.name == gallery.plan.reference]
    there = (name for rows in (usual, trained) for name in models if any(gallery.finished(row, name) for row in rows))
    return next(there, models[0])


def first_faces(data: PairsDataModule, each: int) -> tuple[dict[str, list[str]], dict[str, list[NDArray[np.uint8]]]]:
    """Return species -> names and pictures (S, S, 3) of its first different faces in the lists of pairs."""
    found: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for pairs in data.test_sets:
        faces = [found.setdefault(species, {}) for species in pairs.pair.split("+")]
        for index in range(len(pairs)):
            item = pairs[index]
            both = zip(faces, item.pair_id.split(">"), (item.source_image, item.target_image), strict=True)
            for own, name, image in both:
                if len(own) < each:
                    own.setdefault(name, image)
            if all(len(own) == each for own in faces):
                break
    names = {species: list(own) for species, own in found.items()}
    return names, {species: list(own.values()) for species, own in found.items()}
