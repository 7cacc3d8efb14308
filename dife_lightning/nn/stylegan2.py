"""StyleGAN2's generator, with the parameter names of NVlabs' stylegan2-ada-pytorch, so its networks load unchanged.

Reference: Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.nn.stylegan2_architecture import Architecture, NoiseMode, layer_resolution
from dife_lightning.nn.stylegan2_mapping import FullyConnected, Mapping, truncate
from dife_lightning.nn.stylegan2_ops import GAIN, SLOPE, conv2d_up, demodulation, energy, setup_filter, upsample2d

__all__ = ["Architecture", "NoiseMode", "StyleGAN2Generator", "layer_resolution", "truncate"]


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias and leaky ReLU, optionally with upsampling by 2."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, *, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.clamp = resolution, up, clamp
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", setup_filter())
        # Demodulation cancels a constant factor; this one keeps half-precision activations small.
        self.style_gain = 1 / math.sqrt(inputs * 9)
        self._frozen: tuple[Any, Tensor, Tensor] | None = None

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode = "const", rng: torch.Generator | None = None) -> Tensor:
        """Map ``x`` (B, I, h, w) with ``w`` (B, w_dim) to (B, O, resolution, resolution)."""
        styles = self.affine(w) * self.style_gain
        weight, variance = self._weight()
        factors = demodulation(self.weight, styles, variance=variance) * GAIN
        x = x * styles.to(x.dtype)[:, :, None, None]
        x = conv2d_up(x, weight, self.resample_filter) if self.up else F.conv2d(x, weight, padding=1)
        # Leaky ReLU is homogeneous, so its gain is applied to the small tensors before it.
        bias = (self.bias * GAIN).to(x.dtype)[:, None, None]
        x = torch.addcmul(bias, x, factors.to(x.dtype)[:, :, None, None])
        if noise != "none":
            x = x + (self._noise(x, noise, rng) * (self.noise_strength * GAIN)).to(x.dtype)
        x = F.leaky_relu_(x, SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)

    def _weight(self) -> tuple[Tensor, Tensor | None]:
        """Return the weight in the convolution's precision, and its energy; both are cached for frozen weights."""
        weight, device = self.weight, self.weight.device
        if weight.requires_grad or weight.is_inference():  # inference tensors have no version counter
            return weight, None
        dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else weight.dtype
        key = (dtype, device, weight.stride(), weight.data_ptr(), weight._version)
        if self._frozen is None or self._frozen[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._frozen = (key, weight.detach().to(dtype), energy(weight.detach()))
        return self._frozen[1], self._frozen[2]

    def _noise(self, x: Tensor, mode: NoiseMode, rng: torch.Generator | None) -> Tensor:
        if mode == "const":
            return self.noise_const
        return torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device, generator=rng)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to RGB, without demodulation."""

    def __init__(self, inputs: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.style_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map ``x`` (B, I, h, w) with ``w`` (B, w_dim) to RGB (B, 3, h, w), fp32."""
        batch, channels, height, width = x.shape
        # A 1x1 convolution is a matrix product per pixel; the weights are scaled because they are much smaller than x.
        weight = self.weight[:, :, 0, 0] * (self.affine(w) * self.style_gain)[:, None]
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        rgb = torch.bmm(pixels, weight.to(x.dtype).transpose(1, 2)).float() + self.bias
        rgb = rgb.reshape(batch, height, width, 3).permute(0, 3, 1, 2)
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """Two convolutions (one at 4 px) and the RGB output of one resolution."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, clamp: float | None = None) -> None:
        super().__init__()
        self.register_buffer("resample_filter", setup_filter())
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, resolution, up=True, clamp=clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, resolution, clamp=clamp)
        self.torgb = ToRGB(outputs, w_dim, clamp)
        self.num_convs = 1 if inputs == 0 else 2

    def features(self, x: Tensor | None, ws: Tensor, noise: NoiseMode, rng: torch.Generator | None) -> Tensor:
        """Return the block's feature map (B, outputs, resolution, resolution) for ``ws`` (B, num_convs+, w_dim)."""
        x = self.const[None].expand(ws.shape[0], -1, -1, -1) if x is None else self.conv0(x, ws[:, 0], noise, rng)
        return self.conv1(x, ws[:, self.num_convs - 1], noise, rng)

    def image(self, image: Tensor | None, x: Tensor, w: Tensor) -> Tensor:
        """Add the RGB output for ``x`` to the upsampled ``image`` of the previous resolutions."""
        rgb = self.torgb(x, w)
        return rgb if image is None else upsample2d(image, self.resample_filter) + rgb


class Synthesis(nn.Module):
    """w to image: a learnt 4x4 constant, one block per resolution, and the sum of their RGB outputs."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        inputs = 0
        for resolution, outputs in zip(architecture.resolutions, architecture.channels, strict=True):
            block = SynthesisBlock(inputs, outputs, architecture.w_dim, resolution, architecture.conv_clamp)
            self.add_module(f"b{resolution}", block)
            inputs = outputs

    def forward(
        self,
        ws: Tensor,
        upto_layer: int | None = None,
        *,
        tap_layer: int | None = None,
        noise: NoiseMode = "const",
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Synthesise an image, a feature map, or both.

        Args:
            ws: (B, num_ws, w_dim).
            upto_layer: compute only the features of this layer; the image is None.
            tap_layer: compute the image and the features of this layer.
            noise: the stored noise (``const``), fresh noise (``random``) or none.
            rng: source of fresh noise.

        Returns:
            Image (B, 3, R, R), about [-1, 1], fp32; and features (B, C, r, r) of the tapped layer, or None.
        """
        tap = upto_layer if upto_layer is not None else tap_layer
        side = self.architecture.layer_shape(tap)[1] if tap is not None else 0
        x = image = features = None
        start = 0
        for resolution in self.architecture.resolutions:
            block = self.get_submodule(f"b{resolution}")
            assert isinstance(block, SynthesisBlock)
            x = block.features(x, ws[:, start:], noise, rng)
            start += block.num_convs
            features = x if resolution == side else features
            if upto_layer is not None and resolution == side:
                return None, features
            if upto_layer is None:
                image = block.image(image, x, ws[:, start])
        return image, features


class StyleGAN2Generator(nn.Module):
    """Mapping and synthesis network."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.mapping = Mapping(architecture.z_dim, architecture.c_dim, architecture.w_dim, architecture.mapping_layers)
        self.synthesis = Synthesis(architecture)

    def map(self, z: Tensor, c: Tensor | None = None, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Map ``z`` (B, z_dim) to ws (B, num_ws, w_dim); see :func:`truncate`."""
        ws = self.mapping(z, c)[:, None].expand(-1, self.architecture.num_ws, -1)
        return truncate(ws, self.mapping.w_avg, truncation, cutoff)

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation: float = 1.0,
        noise: NoiseMode = "const",
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """Return images (B, 3, R, R), about [-1, 1]."""
        image, _ = self.synthesis(self.map(z, c, truncation), noise=noise, rng=rng)
        assert image is not None
        return image
