"""A pretrained mobile network with a feature pyramid on top: one fine map that knows what the coarse ones mean.

References: Feature Pyramid Networks (Lin et al., CVPR 2017), figure 3; MobileNetV2 (Sandler et al., CVPR 2018).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.nn.backbone import PixelOptions
from dife_lightning.nn.mobile import MobileNet, MobileOptions


class PyramidEncoder(nn.Module):
    """Map images (B, 3, H, W) in [-1, 1] to (B, dim, H, W).

    The maps of stride 4, 8, 16 and 32 are mixed from the coarsest to the finest. The batch normalisation of the mobile
    network keeps its statistics, which a few hundred images would spoil; its scales and shifts learn.

    Args:
        options: the mobile network.
        pixels: its preprocessing.
        dim: output channels.
        width: channels of the pyramid, a multiple of 8.
        side: the shorter side of the images is resized to this many pixels, and both to multiples of 32.
        keep_size: False returns the finest map itself, (B, dim, h, w) with h = w = ``side`` / 4 for square images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        options: MobileOptions,
        pixels: PixelOptions,
        dim: int,
        width: int = 64,
        side: int = 128,
        keep_size: bool = True,
    ) -> None:
        super().__init__()
        self.keep_size = keep_size
        self.side, self.network = side, MobileNet(options).eval()
        self.taps, channels = zip(*_ends_of_strides(options), strict=True)
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.mix = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in channels
        )
        self.out = nn.Conv2d(width, dim, 1)
        self.register_buffer("mean", torch.tensor(pixels.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(pixels.std).view(1, 3, 1, 1), persistent=False)

    @property
    def last_weight(self) -> nn.Parameter:
        """The weight of the last convolution, through which all gradients enter the encoder."""
        return self.get_parameter("out.weight")

    def check_side(self, side: int, what: str = "size") -> None:
        """Accept every side: images are resized."""

    def train(self, mode: bool = True) -> PyramidEncoder:
        """Set the mode; the mobile network's batch normalisation stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to (B, dim, H, W), or as ``keep_size`` says."""
        maps = self.finest_map(self.features(images))
        return _resized(maps, images.shape[-2:]) if self.keep_size else maps

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the mobile network's maps of images (B, 3, H, W) in [-1, 1], those of stride 4 first."""
        states = self.network(self._prepared(images)).hidden_states
        return [states[tap] for tap in self.taps]

    def finest_map(self, features: Sequence[Tensor]) -> Tensor:
        """Return what the pyramid makes of such ``features``: (B, dim, h, w) of stride 4."""
        found: Tensor | None = None
        for state, lateral, mix in reversed(list(zip(features, self.lateral, self.mix, strict=True))):
            here = lateral(state)
            found = here if found is None else here + _resized(found, here.shape[-2:])
            found = found + mix(found)
        return self.out(found)

    def _prepared(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        shorter = torch.sym_min(height, width)
        size = [torch.sym_max(1, _rounded(length * self.side, shorter * 32)) * 32 for length in (height, width)]
        with torch.autocast(images.device.type, enabled=False):
            pixels = (_resized(images.float(), size) + 1) / 2
            return ((pixels - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)


def _rounded(a: int, b: int) -> int:
    """Return a / b rounded to the nearest integer, half to even, by integer operations, which can be exported."""
    up, rest = (2 * a + b) // (2 * b), (2 * a + b) % (2 * b)
    return up - (1 - torch.sym_min(1, rest)) * (up % 2)


def _ends_of_strides(options: MobileOptions) -> Iterator[tuple[int, int]]:
    """Yield the last block of each stride from 4 on, as a number of ``hidden_states``, and its channels."""
    stride, block = 2, 0
    for stage, following in itertools.zip_longest(options.stages, options.stages[1:]):
        stride, block = stride * stage.stride, block + stage.repeats
        if stride >= 4 and (following is None or following.stride > 1):
            yield block, stage.channels


def _resized(maps: Tensor, size: list[int] | torch.Size) -> Tensor:
    """Resize bilinearly, without aliasing."""
    shrinks = size[0] < maps.shape[-2] or size[1] < maps.shape[-1]
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=False, antialias=shrinks)
