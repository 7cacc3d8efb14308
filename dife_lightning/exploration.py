"""Latent exploration: find the face of domain d' that shares its geometry with a face of domain d (equation 3).

The features D = Ψ^{d'}(Φ(x^d)) say what the generator of d' should have at its tapped layer;

    w* = argmin_w || F^{d'}(w) - D ||_2 + weight_w * || w - w_mean ||_2

is solved for a batch at a time by Adam in w (or w+), running the generator only up to the tap. The image G(w*) is
made once, at the end.

The norms as printed weigh the two terms by the number of their elements (a 512 x 64² map against a 512-d vector);
``norm="rms"`` measures both per element, ``norm="literal"`` as printed.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, section 3.3, equation 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError

Norm = Literal["rms", "literal"]
Space = Literal["w", "w+"]


class FeatureGenerator(Protocol):
    """What exploration needs of a generator."""

    @property
    def num_ws(self) -> int:
        """Number of w vectors that the synthesis takes."""
        ...

    def features(self, w: Tensor, layer: int) -> Tensor:
        """Map w (B, num_ws, w_dim) to the features (B, C, h, h) of ``layer``."""
        ...


@dataclass(frozen=True)
class ExplorationOptions:
    """How equation 3 is solved.

    Attributes:
        steps: most Adam steps per sample.
        lr: Adam's step size in w.
        space: ``w`` (one vector for all layers, as printed) or ``w+`` (one per layer).
        weight_w: weight of the distance to the mean w (1 as printed).
        norm: ``rms`` per element, or ``literal``.
        threshold: a sample stops when its feature distance falls below this; 0 never stops early.
        patience: a sample stops after so many steps without a gain of 0.1 %; 0 never.
    """

    steps: int = 50
    lr: float = 0.1
    space: Space = "w"
    weight_w: float = 0.02
    norm: Norm = "rms"
    threshold: float = 0.0
    patience: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.lr <= 0 or self.weight_w < 0:
            raise ConfigError(
                f"exploration: steps={self.steps}, lr={self.lr}, weight_w={self.weight_w}; "
                "steps and lr must be above 0 and weight_w must not be negative"
            )


@dataclass(frozen=True)
class Exploration:
    """What came out, per sample of the batch.

    Attributes:
        w: (B, num_ws, w_dim) the best w found.
        start_distance: (B,) feature distance at the start.
        feature_distance: (B,) feature distance of ``w``.
        w_distance: (B,) distance of ``w`` to the mean w.
        steps: (B,) int64, Adam steps taken.
    """

    w: Tensor
    start_distance: Tensor
    feature_distance: Tensor
    w_distance: Tensor
    steps: Tensor


def _norm(difference: Tensor, kind: Norm) -> Tensor:
    """Length of each sample's (B, ...) difference, (B,)."""
    squared = difference.flatten(1).square()
    return ((squared.mean(1) if kind == "rms" else squared.sum(1)) + 1e-12).sqrt()


class _Adam:
    """Adam over samples that leave the batch one by one (torch's optimiser cannot drop rows)."""

    def __init__(self, like: Tensor, lr: float) -> None:
        self.lr, self.step = lr, 0
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def update(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return the change of the given ``rows``."""
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
    valid: Tensor | None = None,
) -> Exploration:
    """Solve equation 3 for a batch.

    Args:
        generator: frozen; only its ``features`` is called, so nothing above the tap is computed.
        layer: the tapped layer in the paper's numbers.
        target: (B, C, h, h) the converted embedding D^{d'}.
        start: (B, w_dim) the w to start from (the mean w, or the same-z style).
        mean_w: (w_dim,) the mean w.
        options: see :class:`ExplorationOptions`.
        normalize: applied to the generator's features before they are compared, where the converters were trained
            on normalised ones.
        valid: (B, h, h) bool, the cells of ``target`` that count; None counts all.

    Returns:
        The best w of each sample by the printed objective, and how far it is.
    """
    options = options or ExplorationOptions()
    w = start[:, None].expand(-1, generator.num_ws if options.space == "w+" else 1, -1).clone().float()
    adam, count = _Adam(w, options.lr), w.shape[0]
    best_w, best = w.clone(), torch.full((count,), float("inf"), device=w.device)
    first, distance_of_best = torch.zeros_like(best), torch.zeros_like(best)
    taken = torch.zeros(count, dtype=torch.int64, device=w.device)
    stale, active = torch.zeros_like(taken), torch.ones(count, dtype=torch.bool, device=w.device)
    for step in range(options.steps + 1):
        rows = active.nonzero().squeeze(1)
        if not len(rows):
            break
        last = step == options.steps
        total, distance, gradient = _objective(
            generator, layer, target[rows], w[rows], mean_w, options, normalize, valid, rows, needs_gradient=not last
        )
        if step == 0:
            first = distance.clone()
        better = total < best[rows]
        stale[rows] = torch.where(total < best[rows] * (1 - 1e-3), torch.zeros_like(rows), stale[rows] + 1)
        won = rows[better]
        best[won], distance_of_best[won], best_w[won] = total[better], distance[better], w[won]
        if not last and gradient is not None:
            w[rows] += adam.update(rows, gradient)
            taken[rows] += 1
        active[rows] &= distance > options.threshold
        if options.patience:
            active[rows] &= stale[rows] < options.patience
    full = best_w.expand(-1, generator.num_ws, -1).contiguous()
    return Exploration(full, first, distance_of_best, _norm(best_w - mean_w, options.norm), taken)


def _objective(
    generator: FeatureGenerator,
    layer: int,
    target: Tensor,
    w: Tensor,
    mean_w: Tensor,
    options: ExplorationOptions,
    normalize: Callable[[Tensor], Tensor] | None,
    valid: Tensor | None,
    rows: Tensor,
    needs_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return per-sample objective (B,), feature distance (B,) and the gradient in w (None if not needed)."""
    with torch.set_grad_enabled(needs_gradient):
        leaf = w.detach().requires_grad_(needs_gradient)
        features = generator.features(leaf.expand(-1, generator.num_ws, -1), layer).float()
        difference = (normalize(features) if normalize else features) - target.float()
        if valid is not None:
            difference = difference * valid[rows, None]
        distance = _norm(difference, options.norm)
        total = distance + options.weight_w * _norm(leaf - mean_w, options.norm)
        gradient = torch.autograd.grad(total.sum(), leaf)[0] if needs_gradient else None
    return total.detach(), distance.detach(), gradient
