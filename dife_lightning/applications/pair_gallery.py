"""Pseudo-pairs of a trained DIFE: originals and their partners, found by latent exploration (DIFE, figure 9)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from matplotlib.figure import Figure

from dife_lightning.errors import CheckpointError
from dife_lightning.latent.pseudo_pairs import PseudoPairs
from dife_lightning.methods.dife import DIFE
from dife_lightning.utils.checks import require
from dife_lightning.viz.gallery import GalleryBlock, gallery

Pairs = dict[tuple[str, str], PseudoPairs]


def make_pairs(dife: DIFE, count: int = 5, drawing: int = 0) -> Pairs:
    """Return ``count`` pseudo-pairs of each ordered pair of domains, all with the same originals of a domain.

    Args:
        dife: trained; its generators are loaded.
        count: pairs of each kind.
        drawing: number of the drawing of originals.

    Raises:
        ConfigError: a count below 1, or generators that do not fit.
        CheckpointError: another method.
    """
    require(at_least=1, at_most=64, count=count)
    require(at_least=0, drawing=drawing)
    if not isinstance(dife, DIFE):
        raise CheckpointError(f"{type(dife).__name__} makes no pseudo-pairs; expected a DIFE")
    dife.load_generators()
    dife.eval()
    return {(a, b): dife.pairs.make(dife, a, b, count, drawing) for a in dife.domains for b in dife.domains}


def pair_sheet(dife: DIFE, pairs: Pairs) -> Figure:
    """Draw the pairs: a block for each domain of originals, a column for each domain of partners."""
    domains = list(dife.domains)
    blocks = [
        GalleryBlock(
            source,
            pairs[source, domains[0]].original,
            {target: pairs[source, target].partner for target in domains},
            {target: pairs[source, target].distance for target in domains},
        )
        for source in domains
    ]
    note = "latent exploration by the trained DIFE; the number is the distance in the partner's feature space"
    return gallery(blocks, heading="Pseudo-pairs", note=note)


def pair_rows(dife: DIFE, pairs: Pairs) -> list[dict[str, Any]]:
    """Return for each pair how far its features are apart, before and after the exploration, and w from its mean.

    ``geometry_cosine``: mean cosine of both embeddings at equal places, which says how alike the geometries are.
    """
    rows = []
    for (source, target), made in pairs.items():
        cosine = F.cosine_similarity(dife.embed(made.original), dife.embed(made.partner)).mean(dim=(1, 2))
        numbers = (made.start_distance, made.distance, made.w_distance, cosine)
        for k, values in enumerate(zip(*(one.tolist() for one in numbers), strict=True)):
            names = ("start_distance", "distance", "w_distance", "geometry_cosine")
            rows.append({"source": source, "target": target, "number": k, **dict(zip(names, values, strict=True))})
    return rows
