"""Latent exploration: find the face of domain d' that has the geometry of a face of domain d (equation 3).

The target features D = Ψ^{d'}(Φ(x^d)) are compared with the features F of the tapped layer of the generator of d':

    w* = argmin_w || F^{d'}(w) - D ||_2 + weight_w * || w - w_mean ||_2

This is solved for a batch by Adam in w (or w+). The generator runs only up to the tapped layer.

Species differ in proportions, so there may be no w of d' with the geometry of a face of d. With ``deform`` (ours, not
in the paper) D is deformed smoothly during the search. The original image is then deformed in the same way, so that
both images of the pair share their geometry.

The norms as printed scale with the number of elements (a 512 x 64² map and a 512-d vector): ``norm="literal"``. With
``norm="rms"`` both are per element.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, section 3.3, equation 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.geometry.coordinates import pixel_grid, to_normalized, warp
from dife_lightning.utils.checks import require, require_choices

Norm = Literal["rms", "literal"]
Space = Literal["w", "w+"]


class FeatureGenerator(Protocol):
    """What exploration needs of a generator."""

    @property
    def num_ws(self) -> int:
        """Number of w vectors of the synthesis network."""
        ...

    def features(self, w: Tensor, layer: int) -> Tensor:
        """Map w (B, num_ws, w_dim) to features (B, C, h, h) of ``layer``."""
        ...


@dataclass(frozen=True)
class ExplorationOptions:
    """Options of latent exploration.

    Attributes:
        steps: largest number of Adam steps per sample.
        lr: learning rate of Adam in w.
        space: ``w`` (one vector for all layers, as printed) or ``w+`` (one per layer).
        weight_w: weight of the distance to the mean w (1 as printed).
        norm: ``rms`` (per element) or ``literal`` (as printed).
        patience: a sample stops after this many steps without an improvement of 0.1 %; 0 turns it off.
        deform: largest displacement of the target features, as a fraction of the side; 0 turns it off. Pairs within a
            species are never deformed.
        deform_grid: side of the grid of control points of the deformation; 1 shifts the whole map.
        deform_weight: weight of the roughness of the deformation: the root mean square difference between the
            displacements of neighbouring control points.
    """

    steps: int = 50
    lr: float = 0.1
    space: Space = "w"
    weight_w: float = 0.02
    norm: Norm = "rms"
    patience: int = 0
    deform: float = 0.0
    deform_grid: int = 1
    deform_weight: float = 0.3

    def __post_init__(self) -> None:
        require("exploration.", at_least=1, steps=self.steps, deform_grid=self.deform_grid)
        require("exploration.", above=0, lr=self.lr)
        weights = {"weight_w": self.weight_w, "deform_weight": self.deform_weight}
        require("exploration.", at_least=0, **weights, patience=self.patience)
        require("exploration.", at_least=0, below=0.5, deform=self.deform)
        require_choices("exploration.", self)


@dataclass(frozen=True)
class Exploration:
    """The result, per sample of the batch.

    Attributes:
        w: (B, num_ws, w_dim) the best w found.
        start_distance: (B,) feature distance at the start.
        feature_distance: (B,) feature distance of ``w``.
        w_distance: (B,) distance of ``w`` to the mean w.
        steps: (B,) int64, Adam steps taken.
        move: (B, 2, g, g) deformation of the target features: displacement of each control point in x and y, as a
            fraction of the side; zeros without ``deform``.
    """

    w: Tensor
    start_distance: Tensor
    feature_distance: Tensor
    w_distance: Tensor
    steps: Tensor
    move: Tensor


def moved(maps: Tensor, move: Tensor, padding: str = "reflection") -> Tensor:
    """Deform maps (B, C, h, h) of any side by ``move`` (B, 2, g, g); see :class:`Exploration`."""
    return _warped(maps, move, padding) if bool(move.any()) else maps


def _warped(maps: Tensor, move: Tensor, padding: str) -> Tensor:
    side = maps.shape[-1]
    smooth = F.interpolate(move, (side, side), mode="bicubic", align_corners=True) if move.shape[-1] > 1 else move
    places = pixel_grid(side, side, maps.device) + side * smooth.permute(0, 2, 3, 1)
    return warp(maps, to_normalized(places, side, side), padding)


def _roughness(move: Tensor) -> Tensor:
    """Return the root mean square difference (B,) of neighbouring control points of ``move`` (B, 2, g, g)."""
    if move.shape[-1] == 1:
        return move.new_zeros(len(move))
    steps = torch.cat((move.diff(dim=2).flatten(1), move.diff(dim=3).flatten(1)), dim=1)
    return (steps.square().mean(dim=1) + 1e-12).sqrt()


def _norm(difference: Tensor, kind: Norm) -> Tensor:
    """Return the norm (B,) of each sample of ``difference`` (B, ...)."""
    squared = difference.flatten(1).square()
    return ((squared.mean(1) if kind == "rms" else squared.sum(1)) + 1e-12).sqrt()


def _masked_norm(difference: Tensor, counts: Tensor, kind: Norm) -> Tensor:
    """Like :func:`_norm` over the cells where ``counts`` (B, 1, h, w) is 1, scaled to all cells."""
    share = counts.mean(dim=(1, 2, 3)).clamp(min=1e-6)
    return _norm(difference * counts, kind) / share.sqrt()


class _Adam:
    """Adam for a batch whose samples stop at different steps, which torch.optim.Adam cannot handle."""

    def __init__(self, like: Tensor, lr: float) -> None:
        self.lr, self.step = lr, 0
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def update(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return the update of ``rows``."""
        self.step += 1
        self.mean[rows] = 0.9 * self.mean[rows] + 0.1 * gradient
        self.square[rows] = 0.999 * self.square[rows] + 0.001 * gradient.square()
        mean = self.mean[rows] / (1 - 0.9**self.step)
        square = self.square[rows] / (1 - 0.999**self.step)
        return -self.lr * mean / (square.sqrt() + 1e-8)


@torch.no_grad()
def explore(
    generator: FeatureGenerator,
    layer: int,
    target: Tensor,
    start: Tensor,
    mean_w: Tensor,
    options: ExplorationOptions | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
) -> Exploration:
    """Solve equation 3 for a batch.

    Args:
        generator: frozen.
        layer: the tapped layer, in the paper's numbers.
        target: (B, C, h, h) target features: the converted embedding.
        start: (B, w_dim) initial w.
        mean_w: (w_dim,) mean w.
        options: see :class:`ExplorationOptions`.
        normalize: applied to the generator's features, if the converters were trained on normalised features.

    Returns:
        The w of each sample with the smallest objective.
    """
    options = options or ExplorationOptions()
    w = start[:, None].expand(-1, generator.num_ws if options.space == "w+" else 1, -1).clone().float()
    free = w.new_zeros(len(w), 2, options.deform_grid, options.deform_grid)
    adam, move_adam, count = _Adam(w, options.lr), _Adam(free, options.lr), w.shape[0]
    best_free, best_w, best = free.clone(), w.clone(), torch.full((count,), float("inf"), device=w.device)
    first, distance_of_best = torch.zeros_like(best), torch.zeros_like(best)
    taken = torch.zeros(count, dtype=torch.int64, device=w.device)
    stale, active = torch.zeros_like(taken), torch.ones(count, dtype=torch.bool, device=w.device)
    for step in range(options.steps + 1):
        rows = active.nonzero().squeeze(1)
        if not len(rows):
            break
        last = step == options.steps
        total, distance, gradients = _objective(
            generator, layer, target[rows], w[rows], free[rows], mean_w, options, normalize,
            needs_gradient=not last,
        )  # fmt: skip
        if step == 0:
            first = distance.clone()
        better = total < best[rows]
        stale[rows] = torch.where(total < best[rows] * (1 - 1e-3), torch.zeros_like(rows), stale[rows] + 1)
        won = rows[better]
        best[won], distance_of_best[won], best_w[won] = total[better], distance[better], w[won]
        best_free[won] = free[won]
        if gradients is not None:
            w[rows] += adam.update(rows, gradients[0])
            if options.deform:
                free[rows] += move_adam.update(rows, gradients[1])
            taken[rows] += 1
        if options.patience:
            active[rows] &= stale[rows] < options.patience
    full = best_w.expand(-1, generator.num_ws, -1).contiguous()
    move = options.deform * torch.tanh(best_free)
    return Exploration(full, first, distance_of_best, _norm(best_w - mean_w, options.norm), taken, move)


def _objective(
    generator: FeatureGenerator,
    layer: int,
    target: Tensor,
    w: Tensor,
    free: Tensor,
    mean_w: Tensor,
    options: ExplorationOptions,
    normalize: Callable[[Tensor], Tensor] | None,
    needs_gradient: bool,
) -> tuple[Tensor, Tensor, Sequence[Tensor] | None]:
    """Return objective (B,), feature distance (B,), and the gradients of w and of the deformation before tanh."""
    with torch.set_grad_enabled(needs_gradient):
        leaves = [w.detach().requires_grad_(needs_gradient)]
        features = generator.features(leaves[0].expand(-1, generator.num_ws, -1), layer).float()
        wanted, counts = target.float(), None
        penalty = options.weight_w * _norm(leaves[0] - mean_w, options.norm)
        if options.deform:
            leaves.append(free.detach().requires_grad_(needs_gradient))
            move = options.deform * torch.tanh(leaves[1])
            penalty = penalty + options.deform_weight * _roughness(move)
            # ignore cells that were moved in from outside
            counts = _warped(torch.ones_like(wanted[:, :1]), move.detach(), "zeros").round()
            wanted = _warped(wanted, move, "border")
        difference = (normalize(features) if normalize else features) - wanted
        distance = _norm(difference, options.norm) if counts is None else _masked_norm(difference, counts, options.norm)
        total = distance + penalty
        gradients = torch.autograd.grad(total.sum(), leaves) if needs_gradient else None
    return total.detach(), distance.detach(), gradients
