"""How much each loss of a sum moves the network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def gradient_shares(losses: Mapping[str, Tensor], weight: Tensor) -> dict[str, float]:
    """Return each weighted loss's share of the gradient's length at ``weight``; the graphs are kept.

    Shares add up to 1. A loss that does not depend on ``weight`` has 0.
    """
    norms = {name: _norm(loss, weight) for name, loss in losses.items()}
    total = torch.stack(list(norms.values())).sum().clamp(min=1e-12)
    return {name: float(norm / total) for name, norm in norms.items()}


def _norm(loss: Tensor, weight: Tensor) -> Tensor:
    found = None
    if loss.requires_grad:
        (found,) = torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)
    return loss.detach() * 0 if found is None else found.norm()
