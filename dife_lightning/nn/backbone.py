"""Dense feature maps from the vision networks of ``transformers``.

Vision transformers (DINOv2, DINOv3, ViT, ...) return tokens; the leading ones (class, registers) are no patches and are
dropped. Convolutional networks (ResNet, ConvNeXt, ...) and Swin return maps. Kind and stride are found by running the
network once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.utils.checks import require

#: Mean and deviation of ImageNet's pixels in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneOptions:
    """Which features of a backbone are used, and how.

    Attributes:
        layer: output to use: 0 is the input of the first block (or stage), k the output of block k, negative numbers
            count from the end. Tokens pass the network's final norm, as in DINOv2's ``get_intermediate_layers``.
        side: the shorter side of images is resized to this many pixels; None uses the network's own size.
        upsample: resize the map to the image bilinearly, so that a search returns pixels and not cells.
        unit_length: return unit vectors, so that a dot product is the cosine.
    """

    layer: int = -1
    side: int | None = None
    upsample: bool = True
    unit_length: bool = True

    def __post_init__(self) -> None:
        require(at_least=1, side=self.side)


@dataclass(frozen=True)
class PixelOptions:
    """The preprocessing of a network: ``(pixels * scale - mean) / std`` with pixels in [0, 1].

    Attributes:
        mean: per channel.
        std: per channel.
        scale: factor applied before the mean is subtracted.
        reverse: the network takes BGR.
        side: image side in pixels; None if the network does not state one.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    scale: float = 1.0
    reverse: bool = False
    side: int | None = None


class Backbone(nn.Module):
    """An embedder made of a ``transformers`` network.

    Args:
        model: as ``AutoModel`` returns it.
        options: which features are used.
        pixels: the network's preprocessing.

    Attributes:
        dim: channels of the map.
        stride: pixels of the resized image per cell.
        side: shorter side of the resized image, in pixels.

    Raises:
        ConfigError: the network returns no map, has no such layer, or does not accept images of this side.
    """

    def __init__(
        self,
        model: nn.Module,
        options: BackboneOptions = BackboneOptions(),
        pixels: PixelOptions = PixelOptions(),
    ) -> None:
        super().__init__()
        self.model = model.eval()
        self.options, self.pixels = options, pixels
        self.patch = _patch_size(model)
        if options.side is None:
            self.side = max(pixels.side or 224, self.patch) // self.patch * self.patch
        else:
            self.side = options.side
        if self.side < 1 or self.side % self.patch:
            raise ConfigError(f"side {self.side}: {self._name} takes multiples of its patch of {self.patch} px")
        inputs = inspect.signature(model.forward).parameters
        self.inputs: dict[str, Any] = {"output_hidden_states": True, "return_dict": True}
        if "interpolate_pos_encoding" in inputs:
            self.inputs["interpolate_pos_encoding"] = True
        if next(iter(inputs), "") != "pixel_values":
            found = next(iter(inputs), "nothing")
            raise ConfigError(f"{self._name} takes '{found}', not images: no spatial map; try DINOv2, ViT or ResNet")
        self.dim, self.stride = self._probe()

    def embed(self, images: Tensor) -> Tensor:
        """Map ``images`` (B, 3, H, W) in [-1, 1] to (B, dim, h, w) float32; h, w are H, W with ``upsample``."""
        height, width = images.shape[-2:]
        maps = self._map(self._prepared(images)).float()
        if self.options.upsample:
            shrinks = maps.shape[-2] > height
            maps = F.interpolate(maps, (height, width), mode="bilinear", align_corners=False, antialias=shrinks)
        return F.normalize(maps, dim=1) if self.options.unit_length else maps

    @property
    def _name(self) -> str:
        return type(self.model).__name__

    @torch.no_grad()
    def _probe(self) -> tuple[int, int]:
        """Run the network on a black square and return its channels and stride."""
        device = next(self.model.parameters()).device
        with torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False):
            maps = self._map(torch.zeros(1, 3, self.side, self.side, device=device))
        _, channels, height, width = maps.shape
        stride = self.side // height
        if height != width or self.side % height or (stride != self.patch and stride & (stride - 1)):
            found = f"{height} x {width} cells for {self.side} x {self.side} px"
            raise ConfigError(f"side {self.side}: {self._name} gives {found}; expected a side that is a multiple of 32")
        return channels, stride

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] as the network expects them; the aspect ratio is kept."""
        height, width = images.shape[-2:]
        cells = [max(1, round(length * self.side / (min(height, width) * self.stride))) for length in (height, width)]
        with torch.autocast(images.device.type, enabled=False):
            size = (cells[0] * self.stride, cells[1] * self.stride)
            resized = F.interpolate(images.float(), size, mode="bicubic", align_corners=False, antialias=True)
            pixels = (resized.clamp(-1, 1) + 1) / 2 * self.pixels.scale
            pixels = pixels.flip(1) if self.pixels.reverse else pixels
            return (pixels - _channels(self.pixels.mean, pixels)) / _channels(self.pixels.std, pixels)

    def _map(self, pixels: Tensor) -> Tensor:
        """Return the chosen layer of ``pixels`` (B, 3, H, W) as (B, C, h, w)."""
        output = self.model(pixels, **self.inputs)
        states = getattr(output, "reshaped_hidden_states", None) or getattr(output, "hidden_states", None)
        if not states:
            raise ConfigError(f"{self._name} gives no spatial map: it has no hidden states; try DINOv2, ViT or ResNet")
        if not -len(states) <= self.options.layer < len(states):
            raise ConfigError(f"layer {self.options.layer}: {self._name} has layers 0 to {len(states) - 1}")
        state: Tensor = states[self.options.layer]
        if state.ndim == 4:
            return state
        if self.options.layer in (-1, len(states) - 1):
            return self._unflatten(output.last_hidden_state, pixels)  # with the final norm
        norm = getattr(self.model, "layernorm", None) or getattr(self.model, "norm", None)
        return self._unflatten(state if norm is None else norm(state), pixels)

    def _unflatten(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        """Reshape the last h * w tokens of (B, T, C), which are the patches row by row, to (B, C, h, w)."""
        height, width = pixels.shape[-2] // self.patch, pixels.shape[-1] // self.patch
        count = height * width
        if tokens.ndim != 3 or self.patch == 1 or tokens.shape[1] < count:
            found = f"{tuple(tokens.shape)} for {count} patches"
            raise ConfigError(f"{self._name} gives no spatial map: found {found}; try DINOv2, ViT or ResNet")
        return tokens[:, -count:].transpose(1, 2).unflatten(2, (height, width))


def _patch_size(model: nn.Module) -> int:
    """Return the side of a patch in pixels; 1 for a network without patches."""
    found = getattr(model.config, "patch_size", 1) or 1
    sides = [found] if isinstance(found, int) else list(found)
    if len(set(sides)) != 1:
        raise ConfigError(f"{type(model).__name__} has patches of {sides} px: expected square ones")
    return int(sides[0])


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
