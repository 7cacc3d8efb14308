"""The surface teacher of the embedded world: a small network in the role of DensePose CSE.

CSE is coarse inside a face, because a face is a small part of a body and few points are annotated. This network is
coarse for similar reasons: its input is shrunk to a few pixels, its surface code has only low frequencies, and it is
trained with sparse, noisy clicks.

Reference: Continuous Surface Embeddings, NeurIPS 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.utils.checks import require
from dife_lightning.utils.randomness import normal, uniform


def check_code(dim: int, scale: float) -> None:
    """Check the form of a surface code.

    Raises:
        ConfigError: an odd number of channels, or a scale of 0 or below.
    """
    if dim < 2 or dim % 2:
        raise ConfigError(f"dim is {dim}; the surface code has an even number of channels, for example 16")
    require(above=0, code_scale=scale)


def surface_code(uv: Tensor, dim: int = 16, scale: float = 0.3, seed: int = 7) -> Tensor:
    """Return random Fourier features of surface coordinates, in the role of CSE's vertex embeddings.

    Args:
        uv: (..., 2) canonical coordinates in [-1, 1].
        dim: even number of channels.
        scale: standard deviation of the frequencies, in cycles per unit of ``uv``; low means coarse.
        seed: of the frequencies.

    Returns:
        (..., dim), unit length.
    """
    half = dim // 2
    frequencies = normal((2, half), seed, "surface-frequencies").to(uv.device) * scale
    phases = uniform((half,), seed, "surface-phases").to(uv.device)
    angle = 2 * torch.pi * (uv @ frequencies + phases)
    return torch.cat((angle.cos(), angle.sin()), dim=-1) / half**0.5


class SurfaceNet(nn.Module):
    """Image to surface codes.

    Args:
        dim: channels of the code.
        side: the image is first resized to ``side`` x ``side``.
        width: channels of the hidden layers.
        blocks: residual blocks.
    """

    def __init__(self, dim: int = 16, side: int = 16, width: int = 48, blocks: int = 3) -> None:
        super().__init__()
        self.dim, self.side = dim, side
        self.stem = nn.Conv2d(5, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width),
                nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )  # fmt: skip
        self.whole = nn.Linear(width, width)
        self.head = nn.Conv2d(width, dim, 1)

    def coarse(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to codes (B, dim, side, side), float32, not normalised."""
        small = F.interpolate(images.float(), (self.side, self.side), mode="bilinear", antialias=True)
        ramp = torch.linspace(-1, 1, self.side, device=images.device)
        place = torch.stack(torch.meshgrid(ramp, ramp, indexing="xy")).expand(len(images), -1, -1, -1)
        x = self.stem(torch.cat((small, place), dim=1))
        for block in self.blocks:
            x = x + block(x)
            x = x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None]
        return self.head(x).float()

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to unit-length codes (B, dim, H, W), float32."""
        code = F.interpolate(self.coarse(images), images.shape[-2:], mode="bilinear", align_corners=False)
        return F.normalize(code, dim=1)
