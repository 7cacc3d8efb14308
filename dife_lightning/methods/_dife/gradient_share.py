"""How much each loss contributes to the gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor


def gradient_shares(losses: Mapping[str, Tensor], weight: Tensor) -> dict[str, float]:
    """Return the share of each weighted loss in the length of the gradient at ``weight``; graphs are retained.

    Shares add up to 1. A loss that does not depend on ``weight`` has 0.
    """
    norms = {name: _norm(loss, weight) for name, loss in losses.items()}
    total = torch.stack(list(norms.values())).sum().clamp(min=1e-12)
    return {name: float(norm / total) for name, norm in norms.items()}


def warn_of_small_shares(shares: Mapping[str, float], weights: Mapping[str, float], step: int) -> None:
    """Warn of losses whose share of the gradient is below 1 %."""
    for name, share in shares.items():
        if share < 0.01:
            rank_zero_warn(
                f"loss {name} gives {share:.2%} of the gradient at step {step}; "
                f"raise lambda_{name} (now {weights[name]:g}) or set it to 0"
            )


def _norm(loss: Tensor, weight: Tensor) -> Tensor:
    found = None
    if loss.requires_grad:
        (found,) = torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)
    return loss.detach() * 0 if found is None else found.norm()
