"""The coordinate convention, and all functions that convert coordinates.

A point is ``(x, y)``: x to the right, y down, in pixels of a stated image, with **pixel centres at integers**.
An image of width W covers ``[-0.5, W - 0.5]``, so

* resizing by a factor s maps ``x -> (x + 0.5) * s - 0.5``,
* a horizontal flip maps ``x -> W - 1 - x``,
* :func:`torch.nn.functional.grid_sample` (always ``align_corners=False`` here) takes ``(2 x + 1) / W - 1``.

An affine map is a (..., 2, 3) matrix that maps points of the *source* image to the *target* image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def to_normalized(points: Tensor, width: int, height: int, align_corners: bool = False) -> Tensor:
    """Convert pixel ``points`` (..., 2) to the [-1, 1] coordinates of ``grid_sample(align_corners=False)``.

    With ``align_corners``, -1 and 1 are the centres of the outermost pixels, as in DVE.
    """
    size = points.new_tensor([width, height])
    return 2 * points / (size - 1) - 1 if align_corners else (2 * points + 1) / size - 1


def to_pixels(normalized: Tensor, width: int, height: int, align_corners: bool = False) -> Tensor:
    """Inverse of :func:`to_normalized`."""
    size = normalized.new_tensor([width, height])
    return (normalized + 1) * (size - 1) / 2 if align_corners else ((normalized + 1) * size - 1) / 2


def resize_points(points: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Map ``points`` (..., 2) from an image of size ``old`` (width, height) to the same image resized to ``new``."""
    scale = points.new_tensor([new[0] / old[0], new[1] / old[1]])
    return (points + 0.5) * scale - 0.5


def mirror_points(points: Tensor, width: int | Tensor) -> Tensor:
    """Map ``points`` (..., K, 2) to the mirrored image; ``width`` in pixels, or (...) one for each image."""
    x, y = points.unbind(-1)
    wide = width[..., None].to(points) if isinstance(width, Tensor) else width
    return torch.stack((wide - 1 - x, y), dim=-1)


def turn_points(points: Tensor, width: int, height: int, orientation: int) -> Tensor:
    """Map points of a stored image to the image rotated as its EXIF header says.

    Args:
        points: (..., 2), pixels of the stored image.
        width: of the stored image.
        height: of the stored image.
        orientation: EXIF orientation, 1 (as stored) to 8; from 5 on, width and height are swapped.
    """
    x, y = points.unbind(-1)
    mirrored_x, mirrored_y = width - 1 - x, height - 1 - y
    turned = {
        1: (x, y),
        2: (mirrored_x, y),
        3: (mirrored_x, mirrored_y),
        4: (x, mirrored_y),
        5: (y, x),
        6: (mirrored_y, x),
        7: (mirrored_y, mirrored_x),
        8: (y, mirrored_x),
    }
    return torch.stack(turned[orientation], dim=-1)


def pixel_grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return the pixel centres of an image as (height, width, 2), x then y."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack((x, y), dim=-1)


def affine_matrix(rotation: Tensor, scale: Tensor, shift: Tensor, width: int, height: int) -> Tensor:
    """Return the map of a rotation and scaling about the image centre, followed by a shift.

    Args:
        rotation: (B,) degrees, clockwise.
        scale: (B,) factor; above 1 enlarges.
        shift: (B, 2) fractions of the sides, x then y.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        (B, 2, 3), source pixels to target pixels.
    """
    angle = rotation * (math.pi / 180)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    center = rotation.new_tensor([(width - 1) / 2, (height - 1) / 2])
    offset = center + shift * rotation.new_tensor([width, height]) - linear @ center
    return torch.cat((linear, offset[..., None]), -1)


def apply_affine(matrix: Tensor, points: Tensor) -> Tensor:
    """Map ``points`` (B, K, 2) by ``matrix`` (B, 2, 3)."""
    return points @ matrix[..., :2].transpose(-1, -2) + matrix[..., None, :, 2]


def invert_affine(matrix: Tensor) -> Tensor:
    """Invert (..., 2, 3) affine matrices."""
    inverse = torch.linalg.inv(matrix[..., :2].float())
    return torch.cat((inverse, -inverse @ matrix[..., 2:].float()), -1).to(matrix.dtype)


def sampling_grid(matrix: Tensor, height: int, width: int, image_width: int, image_height: int) -> Tensor:
    """Return the ``grid_sample`` grid that warps maps of ``height`` x ``width`` by ``matrix``.

    Args:
        matrix: (B, 2, 3), source to target pixels of an image of ``image_height`` x ``image_width``.
        height: of the maps.
        width: of the maps.
        image_width: in pixels.
        image_height: in pixels.

    Returns:
        (B, height, width, 2).
    """
    pixels = pixel_grid(height, width, matrix.device).reshape(1, -1, 2)
    target = resize_points(pixels, (width, height), (image_width, image_height))
    source = apply_affine(invert_affine(matrix), target.expand(matrix.shape[0], -1, -1))
    return to_normalized(source, image_width, image_height).reshape(-1, height, width, 2)


def warp(maps: Tensor, grid: Tensor, padding: str = "reflection") -> Tensor:
    """Sample ``maps`` (B, C, H, W) bilinearly at ``grid`` (B, h, w, 2), in fp32; the dtype is kept."""
    with torch.autocast(maps.device.type, enabled=False):
        warped = F.grid_sample(maps.float(), grid.float(), mode="bilinear", padding_mode=padding, align_corners=False)
    return warped.to(maps.dtype)


def inside_mask(grid: Tensor) -> Tensor:
    """Return (B, h, w) bool: which samples of ``grid`` are inside the source image."""
    return (grid.abs() <= 1).all(dim=-1)


def warp_known(maps: Tensor, known: Tensor, matrix: Tensor, fold: float) -> tuple[Tensor, Tensor]:
    """Warp maps that have unknown pixels and discontinuities (folds of the surface).

    A warped pixel is known if the pixel nearest to its origin is known. Its value is interpolated bilinearly from the
    known pixels around its origin whose values differ by at most ``fold`` from the nearest one in all channels.

    Args:
        maps: (B, H, W, C).
        known: (B, H, W) bool.
        matrix: (B, 2, 3), old to new pixels.
        fold: largest difference between values that are interpolated.

    Returns:
        (B, H, W, C) float32, 0 where unknown, and (B, H, W) bool, True where known.
    """
    height, width = known.shape[1:]
    pixels = pixel_grid(height, width, maps.device).reshape(1, -1, 2).expand(len(maps), -1, -1)
    origin = apply_affine(invert_affine(matrix), pixels)
    nearest, inside = _known_cells(maps, known, origin.round())
    low = origin.floor()
    total, weights = torch.zeros_like(nearest), torch.zeros_like(nearest[..., :1])
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        cell = low + low.new_tensor(corner)
        value, there = _known_cells(maps, known, cell)
        there &= ((value - nearest).abs() <= fold).all(-1)
        weight = ((1 - (origin - cell).abs()).prod(-1) * there)[..., None]
        total, weights = total + weight * value, weights + weight
    # The nearest pixel has a weight of at least 1/4.
    warped = torch.where(inside[..., None], total / weights.clamp(min=0.1), 0)
    return warped.unflatten(1, (height, width)), inside.unflatten(1, (height, width))


def _known_cells(maps: Tensor, known: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (B, N, C) of ``maps`` at integer ``cells`` (B, N, 2), and whether they are inside and known."""
    height, width = known.shape[1:]
    last = cells.new_tensor([width - 1, height - 1])
    x, y = cells.clamp(min=cells.new_zeros(2), max=last).long().unbind(-1)
    index = y * width + x
    value = maps.float().flatten(1, 2).gather(1, index[..., None].expand(-1, -1, maps.shape[-1]))
    return value, known.flatten(1).gather(1, index) & ((cells >= 0) & (cells <= last)).all(-1)


def sample_points(maps: Tensor, points: Tensor, width: int, height: int) -> Tensor:
    """Read ``maps`` (B, C, h, w) bilinearly at ``points`` (B, K, 2), pixels of a ``width`` x ``height`` image.

    Returns:
        (B, K, C), float32; points outside the image take the border's value.
    """
    grid = to_normalized(points.float(), width, height)[:, :, None]
    with torch.autocast(maps.device.type, enabled=False):
        read = F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return read[..., 0].transpose(1, 2)


def warp_correspondence(first: Tensor, second: Tensor, side: int, size: int) -> tuple[Tensor, Tensor]:
    """Return where the cells of one warped image are in another, both warped from the same image.

    Args:
        first: (P, 2, 3) affine map of the first image, in pixels.
        second: (P, 2, 3) affine map of the second image.
        side: side of the maps in cells.
        size: side of the images in pixels.

    Returns:
        (P, side, side, 2) in cells of the second map, and (P, side, side) bool: the cell is inside the original
        image, and its match is inside the second.
    """
    cells = pixel_grid(side, side, first.device).reshape(1, -1, 2)
    pixels = resize_points(cells, (side, side), (size, size)).expand(len(first), -1, -1)
    common = apply_affine(invert_affine(first), pixels)
    partner = resize_points(apply_affine(second, common), (size, size), (side, side))
    limits = ((common > -0.5) & (common < size - 0.5)).all(-1) & ((partner > -0.5) & (partner < side - 0.5)).all(-1)
    return partner.reshape(-1, side, side, 2), limits.reshape(-1, side, side)


def channels_last(maps: Tensor) -> Tensor:
    """Return ``maps`` (B, C, H, W) in the channels-last memory format, which makes convolutions faster."""
    return maps.contiguous(memory_format=torch.channels_last)


def resize_maps(maps: Tensor, side: int, mode: str = "bilinear") -> Tensor:
    """Resize (B, C, h, w) to ``side`` x ``side``; ``bilinear`` is anti-aliased."""
    height, width = maps.shape[-2:]
    if height == width == side:
        return maps
    if mode == "nearest":
        return F.interpolate(maps, (side, side), mode="nearest")
    if height == width and height % side == 0:
        return F.avg_pool2d(maps, height // side)
    if maps.requires_grad and maps.device.type not in ("cpu", "cuda"):
        return _resize_by_products(maps.float(), side).to(maps.dtype)
    return F.interpolate(maps.float(), (side, side), mode="bilinear", antialias=height > side).to(maps.dtype)


def _resize_by_products(maps: Tensor, side: int) -> Tensor:
    """Return what an antialiased ``F.interpolate`` does, which has no gradient on other devices, such as Apple's."""
    rows, columns = (_resize_weights(length, side).to(maps.device) for length in maps.shape[-2:])
    return rows @ maps @ columns.t()


def _resize_weights(length: int, side: int) -> Tensor:
    """Return the (side, length) weights of the inputs in each output: a triangle, wider where the map shrinks."""
    scale = length / side
    centres = (torch.arange(side)[:, None] + 0.5) * scale
    weights = (1 - (torch.arange(length) + 0.5 - centres).abs() / max(scale, 1.0)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def resize_mask(mask: Tensor, side: int) -> Tensor:
    """Resize a bool mask (B, h, w) to ``side`` x ``side``, with nearest-neighbour sampling."""
    return F.interpolate(mask[:, None].float(), (side, side), mode="nearest")[:, 0] > 0.5
