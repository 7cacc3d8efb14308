"""Linear discriminant analysis of features at places of aligned images, from sums over a stream, in closed form.

A class is a place. Images may be of several domains, whose places are first brought into agreement (``registered``).
Reference: Fisher, The use of multiple measurements in taxonomic problems, 1936.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Candidates of a registration: scales, and shifts as fractions of the side, in x and y.
SCALES = torch.exp(torch.linspace(-0.4, 0.4, 17))
SHIFTS = torch.linspace(-0.16, 0.16, 17)
#: Places nearer to the border than this fraction of the side do not count in a registration: they show background.
MARGIN = 0.15
#: Most registrations; those of people, dogs and cats settle after four.
ROUNDS = 10


def grid_places(grid: int) -> Tensor:
    """Return the centres (grid * grid, 2) of the cells of a unit square, x then y, row by row, in [0, 1]."""
    centre = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 2)


class ScatterSums:
    """Sums over features, from which the discriminant follows; float64 on the CPU.

    Args:
        domains: number of domains.
        grid: places per side.
        dim: channels of the features.
    """

    def __init__(self, domains: int, grid: int, dim: int) -> None:
        self.grid = grid
        self.count = torch.zeros(domains, grid * grid, dtype=torch.float64)
        self.total = torch.zeros(domains, grid * grid, dim, dtype=torch.float64)
        self.product = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, features: Tensor, inside: Tensor, domain: Tensor) -> None:
        """Add features (B, K, C) at the places of B images, where ``inside`` (B, K); ``domain`` (B,) of the images."""
        kept = features.float() * inside[..., None]
        rows = kept.flatten(0, 1)
        self.product += (rows.T @ rows).cpu().double()
        self.total.index_add_(0, domain.cpu(), kept.cpu().double())
        self.count.index_add_(0, domain.cpu(), inside.cpu().double())

    def state(self) -> dict[str, Tensor]:
        """Return all sums."""
        return {"count": self.count, "total": self.total, "product": self.product}

    def add_state(self, state: dict[str, Tensor]) -> None:
        """Add the sums of another process, or of a checkpoint."""
        for name, value in self.state().items():
            value += state[name]


def discriminant(sums: ScatterSums, dim: int, shrinkage: float, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the linear map that tells places apart, whatever image or domain they are of.

    With total scatter T and scatter B between the places, the axes w solve B w = r T w, largest r first: r is the
    share of an axis's variance that is between places. Each axis is scaled to unit variance within places, then by the
    root of r, so that unreliable axes count less.

    Args:
        sums: of the features.
        dim: axes that are kept.
        shrinkage: share of the mean variance that is added to each channel's.
        frames: (D, 3) scale and shift of each domain's places, as :func:`registered` returns them; None for none.

    Returns:
        Weights (C, dim) and offsets (dim,), float32: an embedding is ``features @ weights + offsets``.
    """
    count = sums.count.sum()
    mean = sums.total.sum((0, 1)) / count
    scatter = sums.product / count - torch.outer(mean, mean)
    scatter = scatter + shrinkage * scatter.diagonal().mean() * torch.eye(len(mean), dtype=torch.float64)
    weights, means = _means(sums, mean, frames)
    between = (means * weights[:, None]).T @ means
    lower = torch.linalg.cholesky(scatter)
    whitened = torch.linalg.solve_triangular(lower, between, upper=False)
    whitened = torch.linalg.solve_triangular(lower, whitened.T, upper=False)
    share, axes = torch.linalg.eigh((whitened + whitened.T) / 2)
    share, axes = share.flip(0)[:dim].clamp(0, 0.999), axes.flip(1)[:, :dim]
    axes = torch.linalg.solve_triangular(lower.T, axes, upper=True) * (share / (1 - share)).sqrt()
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the sign of an eigenvector is arbitrary
    return axes.float(), -(mean @ axes).float()


def registered(sums: ScatterSums, weights: Tensor) -> Tensor:
    """Return scale and shift (x, y) of each domain's places (D, 3) that bring it into agreement with the first domain.

    A place p of the first domain is ``(p - 1/2) * scale + 1/2 + shift`` of another. Of a grid of candidates the one is
    chosen whose mean embeddings correlate best. ``weights`` (C, n) is a first discriminant.
    """
    means = (sums.total / sums.count.clamp(min=1)[..., None]) @ weights.double()
    maps = means.transpose(1, 2).unflatten(2, (sums.grid, sums.grid))
    places = grid_places(sums.grid).double()
    counted = ((places - 0.5).abs() < 0.5 - MARGIN).all(-1)
    candidates = torch.cartesian_prod(SCALES, SHIFTS, SHIFTS).double()
    moved = _moved(places[counted], candidates)
    found = [torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)]
    for own in maps[1:]:
        alike = _correlation(_at(own, moved), means[0][counted])
        found.append(candidates[int(alike.argmax())])
    return torch.stack(found)


def registered_discriminant(sums: ScatterSums, dim: int, shrinkage: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights and offsets of the discriminant of registered places, and the frames.

    Each registration is made in the embedding that the one before led to, until it changes no more (or ``ROUNDS``).
    The arguments are those of :func:`discriminant`.
    """
    frames = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).repeat(len(sums.count), 1)
    weights, offset = discriminant(sums, dim, shrinkage)
    for _ in range(ROUNDS if len(frames) > 1 else 0):
        found = registered(sums, weights)
        if torch.equal(found, frames):
            break
        frames = found
        weights, offset = discriminant(sums, dim, shrinkage, frames)
    return weights, offset, frames


def _correlation(several: Tensor, one: Tensor) -> Tensor:
    """Return the correlation (M,) of each of ``several`` (M, K, n) with ``one`` (K, n), centred over places."""
    centred = [values - values.mean(-2, keepdim=True) for values in (several, one)]
    return F.cosine_similarity(centred[0].flatten(-2), centred[1].flatten(-2), dim=-1)


def _means(sums: ScatterSums, mean: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the weight of each place (K,), which sum to 1, and its mean features (K, C) over domains less ``mean``."""
    count, total = sums.count, sums.total
    if frames is not None:
        moved = _moved(grid_places(sums.grid).double(), frames)
        maps = torch.cat((total, count[..., None]), -1).transpose(1, 2).unflatten(2, (sums.grid, sums.grid))
        read = torch.stack([_at(one, place[None])[0] for one, place in zip(maps, moved, strict=True)])
        inside = ((moved >= 0) & (moved <= 1)).all(-1)[..., None]
        total, count = (read * inside).split((total.shape[-1], 1), dim=-1)
        count = count[..., 0]
    places = count.sum(0)
    return places / places.sum(), total.sum(0) / places.clamp(min=1e-9)[:, None] - mean * (places > 0)[:, None]


def _moved(places: Tensor, frames: Tensor) -> Tensor:
    """Return ``places`` (K, 2) in each of ``frames`` (D, 3): (D, K, 2)."""
    return (places - 0.5) * frames[:, None, :1] + 0.5 + frames[:, None, 1:]


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """Read a map (C, g, g) bilinearly at ``places`` (M, K, 2) in [0, 1]: (M, K, C)."""
    read = F.grid_sample(maps[None], (2 * places - 1)[None], padding_mode="border", align_corners=False)
    return read[0].permute(1, 2, 0)
