"""StyleGAN2's synthesis the plain way: grouped modulated convolutions and a native upfirdn2d, with our weights.

The public PyTorch ports of StyleGAN2 scale the weights of each sample, convolve all samples in one grouped convolution,
and blur with one filter over all channels. Ours scales the input instead, so that one ordinary convolution serves all
samples. Both compute the same. (The ports also have compiled CUDA kernels for the blur; this is what they do without.)

Reference: Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.nn.stylegan2 import StyleGAN2Generator, truncate
from dife_lightning.nn.stylegan2_ops import activate

#: Padding (left, right, top, bottom) for the filter of 4 taps: after a transposed convolution, and to double an image.
AFTER_CONVOLUTION, FOR_DOUBLING = (1, 1, 1, 1), (2, 1, 2, 1)


def upfirdn2d(x: Tensor, kernel: Tensor, up: int, padding: tuple[int, int, int, int]) -> Tensor:
    """Insert ``up - 1`` zeros after each pixel of ``x`` (B, C, H, W), pad, and filter each channel with ``kernel``."""
    batch, channels, height, width = x.shape
    spread = F.pad(x.reshape(-1, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
    spread = F.pad(spread.reshape(-1, 1, height * up, width * up), padding)
    found = F.conv2d(spread, kernel.flip(0, 1)[None, None])
    return found.reshape(batch, channels, *found.shape[2:])


def modulated_conv2d(x: Tensor, weight: Tensor, styles: Tensor, kernel: Tensor | None, *, demodulate: bool) -> Tensor:
    """Convolve each sample of ``x`` (B, I, H, W) with its own weights, as groups of one convolution.

    Args:
        x: input.
        weight: (O, I, k, k).
        styles: (B, I), the scale of each input channel.
        kernel: low-pass filter; if given, the output has twice the side.
        demodulate: scale the weights of each output channel to unit length.

    Returns:
        (B, O, H, W), or (B, O, 2H, 2W) with ``kernel``.
    """
    batch, side = len(x), weight.shape[-1]
    own = weight * styles[:, None, :, None, None]
    if demodulate:
        own = own * (own.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    groups = x.reshape(1, -1, *x.shape[2:])
    if kernel is None:
        found = F.conv2d(groups, own.flatten(0, 1), padding=side // 2, groups=batch)
        return found.reshape(batch, -1, *found.shape[2:])
    found = F.conv_transpose2d(groups, own.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
    return upfirdn2d(found.reshape(batch, -1, *found.shape[2:]), 4 * kernel, 1, AFTER_CONVOLUTION)


class PlainGenerator:
    """A frozen generator with one w for all layers, in fp32.

    Args:
        network: whose weights it uses; its mapping network is used as it is.
        device: where it runs.
    """

    def __init__(self, network: StyleGAN2Generator, device: torch.device) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.z_dim, self.mean_w = network.architecture.z_dim, network.mapping.w_avg

    def map(self, z: Tensor, truncation: float) -> Tensor:
        """Map ``z`` (B, z_dim) to w (B, w_dim), pulled towards the mean."""
        return truncate(self.network.mapping(z), self.mean_w, truncation)

    def synthesize(self, w: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return images (B, 3, R, R) of ``w`` (B, w_dim), and the features (B, C, r, r) of ``layer``."""
        image, features = self._run(w, layer, whole=True)
        assert image is not None
        return image, features

    def features(self, w: Tensor, layer: int) -> Tensor:
        """Return the features (B, C, r, r) of ``layer``; later layers are not computed."""
        return self._run(w, layer, whole=False)[1]

    def _run(self, w: Tensor, layer: int, *, whole: bool) -> tuple[Tensor | None, Tensor]:
        tap, image, features = self.network.architecture.layer_shape(layer)[1], None, None
        x = self.network.synthesis.get_parameter("b4.const").expand(len(w), -1, -1, -1)
        for side in self.network.architecture.resolutions:
            block = self.network.synthesis.get_submodule(f"b{side}")
            x = x if side == 4 else _convolved(block.get_submodule("conv0"), x, w)
            x = _convolved(block.get_submodule("conv1"), x, w)
            features = x if side == tap else features
            if not whole and features is not None:
                break
            if whole:
                image = _with_rgb(block.get_submodule("torgb"), image, x, w, block.get_buffer("resample_filter"))
        assert features is not None
        return image, features


def _convolved(layer: torch.nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """Convolve, add noise and bias, and activate, as ``layer``, a ``SynthesisLayer``, does."""
    weight = layer.get_parameter("weight")
    styles = layer.get_submodule("affine")(w) / math.sqrt(weight[0].numel())
    kernel = layer.get_buffer("resample_filter") if layer.up else None
    x = modulated_conv2d(x, weight, styles, kernel, demodulate=True)
    x = x + layer.get_buffer("noise_const") * layer.get_parameter("noise_strength")
    return activate(x + layer.get_parameter("bias")[:, None, None])


def _with_rgb(layer: torch.nn.Module, image: Tensor | None, x: Tensor, w: Tensor, kernel: Tensor) -> Tensor:
    """Add the colours of ``x`` to the doubled ``image``, as ``layer``, a ``ToRGB``, and its block do."""
    weight = layer.get_parameter("weight")
    styles = layer.get_submodule("affine")(w) / math.sqrt(weight.shape[1])
    rgb = modulated_conv2d(x, weight, styles, None, demodulate=False) + layer.get_parameter("bias")[:, None, None]
    return rgb if image is None else upfirdn2d(image, 4 * kernel, 2, FOR_DOUBLING) + rgb
