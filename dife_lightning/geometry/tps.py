"""Thin-plate splines: DVE's random warps, two views of an image with known correspondence, and interpolation.

The first view is the image warped once, the second is the first one warped again. ``origins`` holds the position in the
first view of each pixel of the second. A warp is given by weights (P + 3, 2): a row per control point of a square
lattice over [-1, 1] (-1 and 1 being the centres of the outermost pixels), and three rows of an affine map.

Reference: Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019, and its public code.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import pixel_grid, to_normalized, to_pixels, warp
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.randomness import normal, uniform


@dataclass(frozen=True)
class TPSOptions:
    """Strength of the warps (standard deviations), and how images are warped.

    Attributes:
        control: control points per side.
        bend: of the weights of the control points.
        strong_bend: of the weights of a random half of them.
        shift: in x and y, in units of half the side.
        scale: relative change of the scale.
        rotation: in degrees.
        first_bend: factor of ``bend`` and ``strong_bend`` for the first view.
        first_affine: factor of ``shift``, ``scale`` and ``rotation`` for the first view.
        crop: pixels cropped at each side after the warps (DVE: 20 of 136).
        padding: pixels from outside the image: ``reflection``, ``border`` or ``zeros`` (DVE).
        align_corners: sample images exactly at ``origins``, as DVE did with its version of PyTorch. False is off by up
            to half a pixel, as DVE's code is from PyTorch 1.3 on.
    """

    control: int = 10
    bend: float = 0.001
    strong_bend: float = 0.01
    shift: float = 0.1
    scale: float = 0.1
    rotation: float = 5.0
    first_bend: float = 0.5
    first_affine: float = 1.0
    crop: int = 0
    padding: str = "reflection"
    align_corners: bool = True

    def __post_init__(self) -> None:
        require("warper.", at_least=2, control=self.control)
        strengths = ("bend", "strong_bend", "shift", "scale", "rotation", "first_bend", "first_affine", "crop")
        require("warper.", at_least=0, **{name: getattr(self, name) for name in strengths})
        require_choice("warper.padding", self.padding, ("reflection", "border", "zeros"))


@dataclass
class Views:
    """Two views of B images.

    Attributes:
        first: (B, C, h, w), warped once.
        second: (B, C, h, w), the first warped again.
        origins: (B, h, w, 2), x then y: position of each pixel of ``second`` in ``first``, in pixels.
    """

    first: Tensor
    second: Tensor
    origins: Tensor


def draw_weights(options: TPSOptions, *parts: int | str) -> Tensor:
    """Return the weights (2, P + 3, 2) of the first and second warp of a sample, with ``parts`` as the seed."""
    count = options.control**2
    numbers = normal((2, 2 * count + 4), *parts, "warp")
    strong = uniform((2, count, 2), *parts, "strong") < 0.5
    deviation = torch.tensor([options.bend, options.strong_bend])[strong.long()]
    bend_factor, affine_factor = torch.tensor([[options.first_bend, options.first_affine], [1.0, 1.0]]).T
    bends = numbers[:, : 2 * count].reshape(2, count, 2) * deviation * bend_factor[:, None, None]
    amount = torch.tensor([options.shift, options.shift, options.scale, options.rotation])
    shift_x, shift_y, scale, degrees = (numbers[:, 2 * count :] * amount * affine_factor[:, None]).T
    cos, sin = ((1 + scale) * turn(degrees * (math.pi / 180)) for turn in (torch.cos, torch.sin))
    rows = [torch.stack(row, dim=-1) for row in ((shift_x, shift_y), (cos, -sin), (sin, cos))]
    return torch.cat((bends, torch.stack(rows, dim=1)), dim=1)


def tps_basis(points: Tensor, control: Tensor, offset: float = 1e-5) -> Tensor:
    """Return the basis functions (..., N, P + 3) of the points ``control`` (..., P, 2) at ``points`` (..., N, 2).

    ``offset`` is added to squared distances in the logarithm; DVE's code has 1e-5.
    """
    squared = (points[..., :, None, :] - control[..., None, :, :]).square().sum(dim=-1)
    return torch.cat((squared * torch.log(squared + offset), torch.ones_like(points[..., :1]), points), dim=-1)


def lattice(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return (height * width, 2) points from -1 to 1, x then y, row by row."""
    pixels = pixel_grid(height, width, device).reshape(-1, 2)
    return to_normalized(pixels, width, height, align_corners=True)


#: Offset of the basis where there is no code to agree with; the basis is 0 at distance 0.
_TINY = 1e-12


def interpolate(
    points: Tensor, values: Tensor, given: Tensor, at: Tensor, smooth: float = 0.02
) -> tuple[Tensor, Tensor]:
    """Interpolate values between points by a thin-plate spline; far from the points it continues linearly.

    Args:
        points: (B, P, 2), in units of half an image's side, for which ``smooth`` is meant.
        values: (B, P, C) at the points.
        given: (B, P) bool, which points there are; the others are ignored.
        at: (N, 2) where to interpolate.
        smooth: how much the spline may miss the values to bend less; 0 goes through them.

    Returns:
        (B, N, C) values, 0 for a row whose points do not fix a spline, and (B,) bool: whether they do. There must be
        three or more, and further from a straight line than 0.05 (root of their summed squared distances).
    """
    with torch.autocast(points.device.type, enabled=False):
        return _interpolate(points.float(), values.float(), given, at.float(), smooth)


def _interpolate(points: Tensor, values: Tensor, given: Tensor, at: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
    here, count = given[..., None].float(), points.shape[1]
    centred = (points - (points * here).sum(1, keepdim=True) / here.sum(1, keepdim=True).clamp(min=1)) * here
    known = (given.sum(1) >= 3) & (torch.linalg.svdvals(centred)[:, -1] > 0.05)
    basis = tps_basis(points, points, _TINY) * here
    bend, affine = basis[..., :count] * here.mT, basis[..., count:]
    bend = bend + torch.diag_embed(torch.where(given, smooth, 1.0))  # a point that is not given has the weight 0
    system = points.new_zeros(len(points), count + 3, count + 3)
    system[:, :count, :count], system[:, :count, count:], system[:, count:, :count] = bend, affine, affine.mT
    system = torch.where(known[:, None, None], system, torch.eye(count + 3, dtype=system.dtype, device=system.device))
    wanted = torch.cat((values * here, values.new_zeros(len(values), 3, values.shape[2])), dim=1)
    weights = torch.linalg.solve(system, wanted * known[:, None, None])
    return tps_basis(at.expand(len(points), -1, 2), points, _TINY) @ weights, known


@functools.lru_cache(maxsize=4)
def _image_basis(height: int, width: int, control: int, device: torch.device) -> Tensor:
    """Return the basis functions at all pixels of an image."""
    return tps_basis(lattice(height, width, device), lattice(control, control, device))


def warp_origins(weights: Tensor, height: int, width: int) -> Tensor:
    """Return the position in the original image of each pixel of the warped image.

    Args:
        weights: (B, P + 3, 2).
        height: of the image.
        width: of the image.

    Returns:
        (B, height, width, 2), x then y, in pixels.
    """
    control = math.isqrt(weights.shape[1] - 3)
    with torch.autocast(weights.device.type, enabled=False):
        normalized = _image_basis(height, width, control, weights.device) @ weights.float()
    return to_pixels(normalized, width, height, align_corners=True).reshape(-1, height, width, 2)


def warped(images: Tensor, origins: Tensor, options: TPSOptions) -> Tensor:
    """Sample ``images`` (B, C, H, W) at ``origins`` (B, H, W, 2), in pixels."""
    height, width = images.shape[-2:]
    # `warp` samples with align_corners=False; DVE's code passes coordinates for True
    grid = to_normalized(origins, width, height, align_corners=not options.align_corners)
    return warp(images, grid, options.padding)


def two_views(images: Tensor, weights: Tensor, options: TPSOptions) -> Views:
    """Warp ``images`` (B, C, H, W) by ``weights`` (B, 2, P + 3, 2): once for the first view, again for the second.

    Raises:
        ConfigError: the crop removes the whole image.
    """
    height, width = images.shape[-2:]
    crop = options.crop
    if 2 * crop >= min(height, width):
        raise ConfigError(
            f"warper: crop={crop} leaves nothing of {width} x {height} px; lower it or enlarge the images"
        )
    origins = warp_origins(weights[:, 1], height, width)
    first = warped(images, warp_origins(weights[:, 0], height, width), options)
    rows, columns = slice(crop, height - crop), slice(crop, width - crop)
    second = warped(first, origins, options)[..., rows, columns]
    return Views(first[..., rows, columns], second, origins[:, rows, columns] - crop)
