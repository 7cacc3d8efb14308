"""The matching losses of one step: warp both sides of the pseudo-pairs, embed and compare them.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, equations 4 to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import (
    channels_last,
    resize_maps,
    sampling_grid,
    warp,
    warp_correspondence,
)
from dife_lightning.latent.pseudo_pairs import PseudoPairs
from dife_lightning.losses.matching import semantic_matching_loss
from dife_lightning.methods._dife.options import MatchingLossOptions
from dife_lightning.utils.randomness import torch_generator, uniform

Key = tuple[int, ...]


def matching_errors(
    encoder: Callable[[Tensor], Tensor],
    drawn: Sequence[PseudoPairs],
    options: MatchingLossOptions,
    augment: AugmentOptions,
    key: Key,
) -> list[Tensor]:
    """Return the matching loss of each kind of pair in ``drawn``.

    Args:
        encoder: images (B, 3, S, S) to embedding (B, n, S, S); called once, on both sides of all pairs.
        drawn: the pairs of each kind.
        options: of the loss.
        augment: warp and colour jitter of each side.
        key: what the random numbers depend on, e.g. (seed, batch number, rank).
    """
    originals, partners = (torch.cat([getattr(p, side) for p in drawn]) for side in ("original", "partner"))
    numbers = [
        uniform((len(originals), AFFINE_NUMBERS + COLOR_NUMBERS), *key, side).to(originals.device) for side in "ab"
    ]
    if not options.independent_warps:
        numbers[1] = torch.cat((numbers[0][:, :AFFINE_NUMBERS], numbers[1][:, AFFINE_NUMBERS:]), dim=1)
    first, first_map = warped_view(originals, numbers[0], augment)
    second, second_map = warped_view(partners, numbers[1], augment)
    embedding = resize_maps(encoder(channels_last(torch.cat((first, second)))), options.side)
    source, target = embedding.chunk(2)
    if options.stop_gradient == "original":
        source = source.detach()
    views = [(source, target, first_map, second_map)]
    if options.symmetric:
        views.append((target, source, second_map, first_map))
    counts, size, queries = [len(p) for p in drawn], originals.shape[-1], _queries(options, key, originals.device)
    errors: list[list[Tensor]] = [[] for _ in drawn]
    agreed = agreed_cells(drawn, options)
    for a, b, map_a, map_b in views:
        truth, valid = warp_correspondence(map_a, map_b, options.side, size)
        if agreed is not None:
            valid = valid & _warped_mask(agreed, map_a, options.side, size)
        start = 0
        for slot, count in zip(errors, counts, strict=True):
            rows = slice(start, start := start + count)
            slot.append(_error(a[rows], b[rows], truth[rows], valid[rows], options, queries))
    return [torch.stack(parts).mean() for parts in errors]


def agreed_cells(drawn: Sequence[PseudoPairs], options: MatchingLossOptions) -> Tensor | None:
    """Return (P, h, h) bool, the cells of all pairs that are matched; None for all."""
    return None if options.agree is None else torch.cat([p.drift for p in drawn]) <= options.agree


def warped_view(images: Tensor, numbers: Tensor, augment: AugmentOptions) -> tuple[Tensor, Tensor]:
    """Warp and jitter ``images`` (P, 3, S, S) by uniform ``numbers`` (P, 9); returns them and the (P, 2, 3) affine."""
    size = images.shape[-1]
    affine = draw_affine(numbers, augment, size, size)
    warped = warp(images, sampling_grid(affine, size, size, size, size), augment.padding)
    return color_jitter(warped, numbers[:, AFFINE_NUMBERS:], augment), affine


def _warped_mask(mask: Tensor, affine: Tensor, side: int, size: int) -> Tensor:
    """Warp (P, h, h) bool, of the shared geometry, by ``affine`` (in pixels of ``size``) to (P, side, side)."""
    return warp(mask[:, None].float(), sampling_grid(affine, side, side, size, size), "zeros")[:, 0] > 0.5


def _queries(options: MatchingLossOptions, key: Key, device: torch.device) -> Tensor | None:
    if options.queries is None:
        return None
    order = torch.randperm(options.side**2, generator=torch_generator(*key, "queries"))
    return order[: options.queries].to(device)


def _error(
    source: Tensor, target: Tensor, truth: Tensor, valid: Tensor, o: MatchingLossOptions, queries: Tensor | None
) -> Tensor:
    return semantic_matching_loss(
        source, target, truth, valid, weights=o.weights, temperature=o.temperature, power=o.power,
        reduction=o.reduction, queries=queries,
    )  # fmt: skip
