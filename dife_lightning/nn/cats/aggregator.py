"""Transformer aggregator of CATs: refines the correlations of several levels, guided by appearance features.

Reference: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError


class Attention(nn.Module):
    """Multi-head self-attention over the last but one axis."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (..., N, dim) to (..., N, dim)."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).transpose(-4, -2).unbind(-3)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(-3, -2).flatten(-2))


class MLP(nn.Module):
    """Two linear layers with GELU between them, applied to each token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (..., dim) to (..., dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention over the cells of each level, then over the levels at each cell, each followed by an MLP.

    With a single level the second attention and its MLP are unused; they exist because checkpoints hold them.
    """

    def __init__(self, levels: int, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.levels = levels
        self.attn = Attention(dim, heads)
        self.attn_multiscale = Attention(dim, heads)
        for number in (1, 2, 3, 4):
            self.add_module(f"norm{number}", nn.LayerNorm(dim, eps=1e-6))
        self.mlp = MLP(dim, hidden)
        self.mlp2 = MLP(dim, hidden)
        if levels == 1:
            for unused in ("attn_multiscale", "norm3", "norm4", "mlp2"):
                self.get_submodule(unused).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, levels, cells, dim) to the same shape."""
        x = x + self.attn(self._norm(1, x))
        if self.levels > 1:
            x = x + self.mlp2(self._norm(4, x))
            x = x + self.attn_multiscale(self._norm(3, x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp(self._norm(2, x))

    def _norm(self, number: int, x: Tensor) -> Tensor:
        return self.get_submodule(f"norm{number}")(x)


class TransformerAggregator(nn.Module):
    """Refine correlations in two passes through the same blocks, one with the cells of each image as tokens.

    A token consists of the correlations of a cell with all cells of the other image, and the cell's appearance.

    Args:
        levels: number of correlation maps, one per hyperpixel.
        side: side of the grid of cells.
        appearance: channels of a cell's appearance.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLPs relative to those of a token.

    Raises:
        ConfigError: ``side * side + appearance`` is not even or not a multiple of ``heads``.
    """

    def __init__(
        self, levels: int, side: int, appearance: int, depth: int = 1, heads: int = 6, mlp_ratio: float = 4.0
    ) -> None:
        super().__init__()
        dim = side * side + appearance
        if dim % heads or dim % 2:
            raise ConfigError(
                f"a token has {side} * {side} + {appearance} = {dim} channels, which must be even and a multiple of "
                f"the {heads} heads; change appearance or heads"
            )
        self.pos_embed_x = nn.Parameter(torch.zeros(1, levels, 1, side, dim // 2))
        self.pos_embed_y = nn.Parameter(torch.zeros(1, levels, side, 1, dim // 2))
        self.blocks = nn.ModuleList(Block(levels, dim, heads, round(dim * mlp_ratio)) for _ in range(depth))
        self.proj = nn.Linear(dim, side * side)
        # The public network has this norm but never applies it.
        self.norm = nn.LayerNorm(dim, eps=1e-6).requires_grad_(False)
        for parameter in (self.pos_embed_x, self.pos_embed_y):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, correlation: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Refine correlations.

        Args:
            correlation: (B, levels, S, T) of S source cells with T target cells.
            source: (B, levels, S, appearance).
            target: (B, levels, T, appearance).

        Returns:
            (B, S, T), float32: the mean over the levels.
        """
        turned = correlation.transpose(-1, -2)
        first = (self._refine(turned, target).float() + turned).transpose(-1, -2)
        return (self._refine(first, source).float() + correlation).mean(dim=1)

    def _refine(self, correlation: Tensor, appearance: Tensor) -> Tensor:
        """Return the change of ``correlation`` (B, levels, N, M); ``appearance`` is (B, levels, N, appearance)."""
        x = torch.cat((correlation, appearance.to(correlation.dtype)), dim=-1) + self._positions()
        for block in self.blocks:
            x = block(x)
        return self.proj(x)

    def _positions(self) -> Tensor:
        """Return the position embeddings (1, levels, cells, dim)."""
        side = self.pos_embed_x.shape[3]
        x = self.pos_embed_x.expand(-1, -1, side, -1, -1)
        y = self.pos_embed_y.expand(-1, -1, -1, side, -1)
        return torch.cat((x, y), dim=-1).flatten(2, 3)
