"""Augmentation on the training device: affine maps and colour jitter, as functions of given uniform random numbers."""

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
    """Ranges of the augmentation (the paper does not state them).

    Attributes:
        rotation: largest rotation in degrees.
        scale_min: smallest scale.
        scale_max: largest scale.
        shift: largest shift in x and y, as a fraction of the side.
        brightness: largest relative change; also for ``contrast`` and ``saturation``.
        contrast: see ``brightness``.
        saturation: see ``brightness``.
        hue: largest rotation of the hue, 1 being a full turn.
        color_probability: share of images with colour jitter.
        padding: pixels from outside the image: ``reflection``, ``border`` or ``zeros``.
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
    """Convert numbers (B, 4) in [0, 1) to affine maps (B, 2, 3) from original to warped pixels."""
    signed = 2 * uniform[:, :AFFINE_NUMBERS] - 1
    # log-uniform: enlarging and shrinking by the same factor are equally likely
    low, high = torch.log(uniform.new_tensor([options.scale_min, options.scale_max]))
    scale = torch.exp(low + (high - low) * uniform[:, 1])
    return affine_matrix(signed[:, 0] * options.rotation, scale, signed[:, 2:4] * options.shift, width, height)


def color_jitter(images: Tensor, uniform: Tensor, options: AugmentOptions) -> Tensor:
    """Jitter brightness, contrast, saturation and hue of each image.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        uniform: (B, 5) numbers in [0, 1); the last one decides whether an image is jittered.
        options: the ranges.

    Returns:
        (B, 3, H, W) in [-1, 1], same dtype.
    """
    with torch.autocast(images.device.type, enabled=False):
        x = (images.float() + 1) / 2  # jitter is defined for pixels in [0, 1]
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
    """Rotate RGB (B, 3, H, W) about the grey axis by ``turns`` (B,), a linear approximation of a hue shift."""
    angle = turns * (2 * torch.pi)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None] / 3**0.5
    third = torch.full((3, 3), 1 / 3, device=x.device)
    cross = x.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    matrix = cos * torch.eye(3, device=x.device) + (1 - cos) * third + sin * cross
    return torch.einsum("bij,bjhw->bihw", matrix, x)
