"""StyleGAN2's mapping network from z to w, and truncation; parameter names of NVlabs' stylegan2-ada-pytorch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.nn.stylegan2_ops import activate, normalize_second_moment

#: Relative learning rate of the mapping network; its stored weights are divided by it.
LR_MULTIPLIER = 0.01


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate (weights are scaled at run time), always in fp32."""

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, lr_multiplier: float = 1.0, lrelu: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier
        self.lrelu = lrelu

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        with torch.autocast(x.device.type, enabled=False):
            x = F.linear(x.float(), self.weight.float() * self.weight_gain, self.bias.float() * self.bias_gain)
        return activate(x) if self.lrelu else x


class Mapping(nn.Module):
    """z (and a class) to w: normalisation, then fully connected layers with a lower learning rate."""

    w_avg: Tensor

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, layers: int, *, track_average: bool = True) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.layers = z_dim, c_dim, w_dim, layers
        if c_dim:
            self.embed = FullyConnected(c_dim, w_dim)
        width = z_dim + (w_dim if c_dim else 0)
        for i in range(layers):
            layer = FullyConnected(width if i == 0 else w_dim, w_dim, lr_multiplier=LR_MULTIPLIER, lrelu=True)
            self.add_module(f"fc{i}", layer)
        if track_average:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """Map ``z`` (B, z_dim) and one-hot ``c`` (B, c_dim) to w (B, w_dim), fp32."""
        parts = [normalize_second_moment(z)] if z is not None else []
        if self.c_dim:
            if c is None or c.shape[-1] != self.c_dim:
                raise ConfigError(f"this network is conditional: pass c of shape (B, {self.c_dim})")
            parts.append(normalize_second_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for i in range(self.layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    @torch.no_grad()
    def update_average(self, w: Tensor, decay: float = 0.995) -> None:
        """Move ``w_avg`` towards the mean of ``w`` (B, w_dim)."""
        self.w_avg.copy_(w.detach().float().mean(0).lerp(self.w_avg, decay))


def truncate(ws: Tensor, mean_w: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """Interpolate the first ``cutoff`` ws from ``mean_w`` (w_dim) at psi 0 to ``ws`` (B, num_ws, w_dim) at psi 1."""
    if psi == 1:
        return ws
    pulled = mean_w.lerp(ws, psi)
    return pulled if cutoff is None else torch.cat((pulled[:, :cutoff], ws[:, cutoff:]), dim=1)
