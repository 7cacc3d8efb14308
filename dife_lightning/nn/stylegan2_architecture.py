"""Sizes of a StyleGAN2 generator: resolutions, channels, and the paper's layer numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from dife_lightning.errors import ConfigError
from dife_lightning.utils.checks import require

NoiseMode = Literal["const", "random", "none"]


@dataclass(frozen=True)
class Architecture:
    """Sizes of a generator.

    Attributes:
        channels: feature channels of the blocks at 4, 8, 16, ... pixels; their number sets the resolution.
        z_dim: length of the latent z.
        w_dim: length of the intermediate latent w.
        c_dim: number of classes; 0 for an unconditional network.
        mapping_layers: fully connected layers from z to w.
        conv_clamp: largest absolute output of a convolution (NVlabs: for training in fp16); None for no limit.
    """

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    conv_clamp: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(count) for count in self.channels))
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ConfigError(f"channels {list(self.channels)}: expected two or more positive counts (4, 8, ... px)")
        require(at_least=1, z_dim=self.z_dim, w_dim=self.w_dim, mapping_layers=self.mapping_layers)
        require(at_least=0, c_dim=self.c_dim)
        require(above=0, conv_clamp=self.conv_clamp)

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return 2 ** (len(self.channels) + 1)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the blocks, 4 first."""
        return tuple(2 ** (i + 2) for i in range(len(self.channels)))

    @property
    def num_ws(self) -> int:
        """Number of w vectors that the synthesis network takes."""
        return 2 * len(self.channels)

    def layer_shape(self, layer: int) -> tuple[int, int]:
        """Return (channels, side) of the feature map of ``layer``; see :func:`layer_resolution`."""
        side = layer_resolution(layer)
        if side not in self.resolutions:
            last = 2 * len(self.channels) - 3
            raise ConfigError(f"layer {layer} is above this {self.resolution}-px generator: use 1, 3, ..., {last}")
        return self.channels[self.resolutions.index(side)], side

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {**asdict(self), "channels": list(self.channels)}


def layer_resolution(layer: int) -> int:
    """Return the side of the map of ``layer``, the second convolution of a block: 1 -> 8, 3 -> 16, 5 -> 32, 7 -> 64."""
    if layer < 1 or layer % 2 == 0:
        raise ConfigError(f"layer {layer}: expected an odd number from 1 on, a block's second convolution (5 is 32 px)")
    return 2 ** ((layer + 5) // 2)
