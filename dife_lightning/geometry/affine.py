"""Augmentation on the training device: one affine map for an image and its feature maps, colour jitter for images.

Both are pure functions of uniform random numbers that the caller draws, so a sample is a pure function of (seed, index)
on every device, worker and rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dife_lightning.geometry.coordinates import affine_matrix
from dife_lightning.utils.checks import require, require_choice

#: Uniform numbers that :func:`draw_affine` and :func:`color_jitter` need per image.
AFFINE_NUMBERS, COLOR_NUMBERS = 4, 5


@dataclass(frozen=True)
class AugmentOptions:
    """Ranges of the augmentation; the paper does not state them.

    Attributes:
        rotation: degrees to either side.
        scale_min: smallest factor.
        scale_max: largest factor.
        shift: fraction of the side, to either side, in x and in y.
        brightness: largest relative change; likewise ``contrast`` and ``saturation``.
        contrast: see ``brightness``.
        saturation: see ``brightness``.
        hue: largest rotation of the hue, in turns.
        color_probability: share of images that get any colour jitter.
        padding: content from outside the image: ``reflection``, ``border`` or ``zeros``.
    """

    rotation: float = 29.0
    scale_min: float = 0.75
    scale_max: float = 1.25
    shift: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.1
    color_probability: float = 0.7
    padding: str = "reflection"

    def __post_init__(self) -> None:
        require("augment.", above=0, scale_min=self.scale_min)
        require("augment.", at_least=self.scale_min, scale_max=self.scale_max)
        ranges = ("rotation", "shift", "brightness", "contrast", "saturation", "hue")
        require("augment.", at_least=0, **{name: getattr(self, name) for name in ranges})
        require("augment.", at_least=0, at_most=1, color_probability=self.color_probability)
        require_choice("augment.padding", self.padding, ("reflection", "border", "zeros"))


def draw_affine(uniform: Tensor, options: AugmentOptions, width: int, height: int) -> Tensor:
    """Convert (B, 4) numbers in [0, 1) to (B, 2, 3) maps from original to warped pixels."""
    signed = 2 * uniform[:, :AFFINE_NUMBERS] - 1
    # log-uniform, so that enlarging and shrinking by the same factor are equally likely
    low, high = torch.log(uniform.new_tensor([options.scale_min, options.scale_max]))
    scale = torch.exp(low + (high - low) * uniform[:, 1])
    return affine_matrix(signed[:, 0] * options.rotation, scale, signed[:, 2:4] * options.shift, width, height)


def color_jitter(images: Tensor, uniform: Tensor, options: AugmentOptions) -> Tensor:
    """Jitter brightness, contrast, saturation and hue of each image.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        uniform: (B, 5) numbers in [0, 1); the last one decides whether an image is jittered at all.
        options: the ranges.

    Returns:
        (B, 3, H, W) in [-1, 1], same dtype.
    """
    with torch.autocast(images.device.type, enabled=False):
        x = (images.float() + 1) / 2  # in [-1, 1] a change of contrast would turn dark into light
        signed = (2 * uniform - 1)[:, :, None, None, None]
        brightness, contrast, saturation = (
            1 + signed[:, i] * amount
            for i, amount in enumerate((options.brightness, options.contrast, options.saturation))
        )
        grey = x.mean(dim=1, keepdim=True)
        jittered = grey + (x - grey) * saturation
        mean = jittered.mean(dim=(1, 2, 3), keepdim=True)
        jittered = (mean + (jittered - mean) * contrast) * brightness
        jittered = _rotate_hue(jittered, signed[:, 3, 0, 0, 0] * options.hue).clamp(0, 1)
        chosen = (uniform[:, 4] < options.color_probability)[:, None, None, None]
        return (torch.where(chosen, jittered, x) * 2 - 1).to(images.dtype)


def _rotate_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate RGB (B, 3, H, W) about the grey axis by ``turns`` (B,): a linear approximation of a change of hue."""
    angle = turns * (2 * torch.pi)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None] / 3**0.5
    third = torch.full((3, 3), 1 / 3, device=x.device)
    cross = x.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    matrix = cos * torch.eye(3, device=x.device) + (1 - cos) * third + sin * cross
    return torch.einsum("bij,bjhw->bihw", matrix, x)
