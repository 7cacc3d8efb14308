"""Landmark transfer by nearest-neighbour search in a dense embedding.

The default is the protocol of the published pixel errors (DIFE, after DVE's ``find_descriptor``): the source point is
rounded to a cell (half to even), its descriptor is compared with **all** target cells by dot product, the first maximum
wins, and the result is ``cell * stride``, without a half-pixel offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.checks import require

Similarity = Literal["dot", "cosine"]
Size = int | tuple[int, int]

#: Largest number of similarities stored at once: 2^25 float32 are 128 MiB.
MAX_SIMILARITIES = 2**25
#: The same on a CPU, to stay in its cache: 1 MiB.
MAX_CACHED = 2**18


@dataclass(frozen=True)
class MatchingOptions:
    """How an evaluation matches, as in :func:`transfer`; options of the evaluation, not of a checkpoint."""

    similarity: Similarity = "dot"
    subpixel: bool = False
    window: float = 0.0
    temperature: float = 0.05

    def __post_init__(self) -> None:
        require(at_least=0, at_most=1, window=self.window)
        require(above=0, temperature=self.temperature)
        if self.subpixel and self.window:
            raise ConfigError("subpixel and window are two ways to refine a match; choose one")
        if self.similarity not in ("dot", "cosine"):
            raise ConfigError(f"similarity '{self.similarity}': {did_you_mean(self.similarity, ('dot', 'cosine'))}")


class Matches(NamedTuple):
    """Transferred points (B, P, 2), and a score of each (B, P), higher is better; None from a method without one."""

    points: Tensor
    scores: Tensor | None = None


def transfer(
    source_embedding: Tensor,
    target_embedding: Tensor,
    points: Tensor,
    *,
    source_size: Size | None = None,
    target_size: Size | None = None,
    similarity: Similarity = "dot",
    subpixel: bool = False,
    window: float = 0.0,
    temperature: float = 0.05,
) -> Tensor:
    """Transfer points of the source image to the target image.

    Args:
        source_embedding: (B, n, h, w), any float dtype; compared in float32, also under autocast.
        target_embedding: (B, n, h', w').
        points: (B, K, 2), x then y, pixels of the source image; points outside it use the nearest cell.
        source_size: side, or (width, height), of the source image in pixels; None for the size of the map.
        target_size: the same for the target image.
        similarity: ``dot`` (as in the paper) or ``cosine``.
        subpixel: (not in the paper) read the source bilinearly, and refine the target position by at most half a cell,
            to the maxima of parabolas through the best cell and its neighbours.
        window: (not in the paper) side of a square around the best cell, relative to the map's longer side; the answer
            is the mean of its cells, weighted by the softmax of their cosine similarities (window soft-argmax, Zhang et
            al., CVPR 2024, who use 0.25). 0 answers with the best cell.
        temperature: of that softmax.

    Returns:
        (B, K, 2) float32, pixels of the target image.

    Raises:
        ConfigError: shapes that do not fit together, or an unknown similarity.
    """
    options = MatchingOptions(similarity, subpixel, window, temperature)
    _check(source_embedding, target_embedding, points)
    height, width = target_embedding.shape[-2:]
    with torch.autocast(points.device.type, enabled=False):
        cells = points.float() / _stride(source_embedding, source_size)
        queries = _read(source_embedding.float(), cells, subpixel)
        targets = target_embedding.float().flatten(2)
        if similarity == "cosine":
            queries, targets = F.normalize(queries, dim=1), F.normalize(targets, dim=1)
        best = _search(queries, targets, (height, width), options)
        return best * _stride(target_embedding, target_size)


def match_scores(
    source_embedding: Tensor,
    target_embedding: Tensor,
    points: Tensor,
    found: Tensor,
    *,
    source_size: Size | None = None,
    target_size: Size | None = None,
    subpixel: bool = False,
) -> Tensor:
    """Return how alike the embeddings of points and of their matches are.

    Args:
        source_embedding: (B, n, h, w), any float dtype.
        target_embedding: (B, n, h', w').
        points: (B, K, 2), x then y, pixels of the source image.
        found: (B, K, 2), pixels of the target image, as :func:`transfer` returns them.
        source_size: as in :func:`transfer`.
        target_size: as in :func:`transfer`.
        subpixel: read both embeddings bilinearly.

    Returns:
        (B, K) float32, the cosine similarity in [-1, 1], whichever similarity the search used.
    """
    with torch.autocast(points.device.type, enabled=False):
        source = _read(source_embedding.float(), points.float() / _stride(source_embedding, source_size), subpixel)
        target = _read(target_embedding.float(), found.float() / _stride(target_embedding, target_size), subpixel)
        return F.cosine_similarity(source, target, dim=1)


def read_descriptors(embedding: Tensor, points: Tensor, size: Size | None = None) -> Tensor:
    """Return the unit vectors (B, K, n) of an embedding (B, n, h, w) at the cells nearest to ``points`` (B, K, 2).

    The points are pixels of an image of ``size``, as in :func:`transfer`.
    """
    with torch.autocast(points.device.type, enabled=False):
        found = _read(embedding.float(), points.float() / _stride(embedding, size), bilinear=False)
        return F.normalize(found, dim=1).transpose(1, 2)


def read_map(scores: Tensor, size: Size, window: float, temperature: float) -> Tensor:
    """Return the place (B, K, 2) of each map's maximum in pixels of an image, refined as :func:`transfer` does.

    Args:
        scores: (B, K, h, w) cosine similarities.
        size: of the image.
        window: side of the square around the best cell, relative to the map's longer side.
        temperature: of the softmax in it.
    """
    flat = scores.float().flatten(2)
    shape = scores.shape[-2], scores.shape[-1]
    best = _cells(_first_maxima(flat), shape)
    options = MatchingOptions("cosine", window=window, temperature=temperature)
    with torch.autocast(scores.device.type, enabled=False):
        return _window_mean(flat, best, shape, options) * _stride(scores, size)


def _check(source: Tensor, target: Tensor, points: Tensor) -> None:
    if source.ndim != 4 or target.ndim != 4 or source.shape[:2] != target.shape[:2]:
        found = f"{tuple(source.shape)} and {tuple(target.shape)}"
        raise ConfigError(f"embeddings of shapes {found}: expected (B, n, h, w) with equal B and n for both")
    if points.ndim != 3 or points.shape[0] != source.shape[0] or points.shape[2] != 2:
        raise ConfigError(f"points of shape {tuple(points.shape)}: expected ({source.shape[0]}, K, 2), x then y")


def _stride(embedding: Tensor, size: Size | None) -> Tensor:
    """Return the image pixels per cell (2,), x then y."""
    height, width = embedding.shape[-2:]
    pair = (width, height) if size is None else (size, size) if isinstance(size, int) else size
    return torch.tensor([pair[0] / width, pair[1] / height], dtype=torch.float32, device=embedding.device)


def _read(embedding: Tensor, cells: Tensor, bilinear: bool) -> Tensor:
    """Return the descriptors (B, n, K) at ``cells`` (B, K, 2): of the nearest cell, or interpolated bilinearly."""
    last = cells.new_tensor([embedding.shape[-1] - 1, embedding.shape[-2] - 1])
    if not bilinear:
        return _gather(embedding, cells.round().clamp(min=cells.new_zeros(2), max=last).long())
    cells = cells.clamp(min=cells.new_zeros(2), max=last)
    low = cells.floor()
    high, part = torch.minimum(low + 1, last), cells - low
    queries = embedding.new_zeros(embedding.shape[0], embedding.shape[1], cells.shape[1])
    for x, weight_x in ((low[..., 0], 1 - part[..., 0]), (high[..., 0], part[..., 0])):
        for y, weight_y in ((low[..., 1], 1 - part[..., 1]), (high[..., 1], part[..., 1])):
            queries = queries + (weight_x * weight_y)[:, None] * _gather(embedding, torch.stack((x, y), -1).long())
    return queries


def _gather(embedding: Tensor, cells: Tensor) -> Tensor:
    index = cells[..., 1] * embedding.shape[-1] + cells[..., 0]
    return embedding.flatten(2).gather(2, index[:, None].expand(-1, embedding.shape[1], -1))


def _search(queries: Tensor, targets: Tensor, shape: tuple[int, int], options: MatchingOptions) -> Tensor:
    """Find the best cell (B, K, 2) for ``queries`` (B, n, K) among ``targets`` (B, n, h*w), in bounded memory."""
    if queries.device.type == "cpu" and not (options.subpixel or options.window):
        return _cells(_nearest_on_cpu(queries.detach(), targets.detach()), shape).float()
    cells = targets.shape[-1]
    points = max(1, min(queries.shape[-1], MAX_SIMILARITIES // cells))
    pairs = max(1, MAX_SIMILARITIES // (cells * points))
    rows = []
    for query, target in zip(queries.split(pairs), targets.split(pairs), strict=True):
        parts = [_best_cells(part, target, shape, options) for part in query.split(points, dim=-1)]
        rows.append(torch.cat(parts, dim=1) if parts else query.new_zeros(len(query), 0, 2))
    return torch.cat(rows) if rows else queries.new_zeros(0, queries.shape[-1], 2)


def _nearest_on_cpu(queries: Tensor, targets: Tensor) -> Tensor:
    """Return the indices (B, K) of the first maxima, computed in parts that fit the cache.

    NumPy's argmax is vectorised, torch's is not. Both return the first maximum, or the first NaN.
    """
    found = torch.empty(queries.shape[0], queries.shape[2], dtype=torch.int64)
    points = max(1, MAX_CACHED // targets.shape[-1])
    similarities = queries.new_empty(points, targets.shape[-1])
    for query, target, row in zip(queries.transpose(1, 2).contiguous(), targets, found, strict=True):
        for part, place in zip(query.split(points), row.split(points), strict=True):
            scores = torch.mm(part, target, out=similarities[: len(part)])
            scores.numpy().argmax(axis=1, out=place.numpy())
    return found


def _best_cells(queries: Tensor, targets: Tensor, shape: tuple[int, int], options: MatchingOptions) -> Tensor:
    scores = torch.bmm(queries.transpose(1, 2), targets)
    best = _cells(_first_maxima(scores), shape)
    if options.window:
        if options.similarity != "cosine":  # products of any scale have no temperature
            scores = torch.bmm(F.normalize(queries, dim=1).transpose(1, 2), F.normalize(targets, dim=1))
        return _window_mean(scores, best, shape, options)
    return best + _parabola_shift(scores.unflatten(-1, shape), best) if options.subpixel else best.float()


def _first_maxima(scores: Tensor) -> Tensor:
    if scores.device.type == "cpu":  # NumPy's argmax is vectorised, torch's is not
        return torch.from_numpy(scores.detach().numpy().argmax(axis=-1))
    return scores.argmax(dim=-1)


def _window_mean(scores: Tensor, best: Tensor, shape: tuple[int, int], options: MatchingOptions) -> Tensor:
    """Return the mean cell (B, K, 2) of the square around each best cell, weighted by the softmax of its scores."""
    reach = int(options.window * max(shape) / 2)
    steps = torch.arange(-reach, reach + 1, device=scores.device)
    (x, y), (width, height) = ((best[..., axis, None] + steps for axis in (0, 1)), (shape[1], shape[0]))
    inside = ((y >= 0) & (y < height))[..., :, None] & ((x >= 0) & (x < width))[..., None, :]
    index = y.clamp(0, height - 1)[..., :, None] * width + x.clamp(0, width - 1)[..., None, :]
    near = scores.gather(-1, index.flatten(-2)) / options.temperature
    weights = near.masked_fill(~inside.flatten(-2), -torch.inf).softmax(dim=-1).unflatten(-1, inside.shape[-2:])
    return torch.stack(((weights.sum(dim=-2) * x).sum(dim=-1), (weights.sum(dim=-1) * y).sum(dim=-1)), dim=-1)


def _cells(index: Tensor, shape: tuple[int, int]) -> Tensor:
    """Convert cell indices (...) to (..., 2), x then y."""
    return torch.stack((index % shape[1], index // shape[1]), dim=-1)


def _parabola_shift(scores: Tensor, best: Tensor) -> Tensor:
    """Return the offset (B, K, 2), at most half a cell, to the maximum of the parabola through each best cell."""
    padded = F.pad(scores, (1, 1, 1, 1), mode="replicate").flatten(-2)
    width = scores.shape[-1] + 2
    centre = (best[..., 1] + 1) * width + best[..., 0] + 1
    last = best.new_tensor([scores.shape[-1] - 1, scores.shape[-2] - 1])
    shifts = []
    for axis, step in ((0, 1), (1, width)):
        low, mid, high = (padded.gather(-1, (centre + i * step)[..., None])[..., 0] for i in (-1, 0, 1))
        bend = 2 * mid - low - high
        shift = torch.where(bend > 0, (high - low) / (2 * bend.clamp(min=torch.finfo(bend.dtype).tiny)), 0)
        inside = (best[..., axis] > 0) & (best[..., axis] < last[axis])
        shifts.append(torch.where(inside, shift.clamp(-0.5, 0.5), 0))
    return torch.stack(shifts, dim=-1)
