"""Heat maps of landmarks: targets, decoding to points, and the mean with the map of the mirrored image.

A map of w x h cells covers the whole image of W x H pixels, as if the image had been resized to it (see
``coordinates``). So cell k is at pixel ``(k + 0.5) * W / w - 0.5``: with 64 cells for 256 px, cell 0 is at 1.5 and the
last one at 253.5. As both are equally far from the borders, mirroring the image mirrors the map, cell k to cell
``w - 1 - k``, whether or not w divides W, and there is no shift to correct. Strided convolutions may sample elsewhere;
a network learns that offset from its targets.

References:
    - [0]: Deep High-Resolution Representation Learning for Human Pose Estimation (Sun et al., CVPR 2019), section 3.
    - [1]: Distribution-Aware Coordinate Representation (DARK; Zhang et al., CVPR 2020), section 3.2.
    - [2]: Meta-CSKT (ACM MM 2023), its official evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import resize_points
from dife_lightning.utils.checks import require, require_choices

#: Width and height.
Size = tuple[int, int]
#: Which point of a mirrored face is which.
Order = Sequence[int] | NDArray[np.int64] | Tensor
#: Deviations of a Gaussian after which it is cut off: of published targets, and of windows around a peak.
_REACH = 3
#: Smallest value whose logarithm is taken, as in the public code of [1].
_FLOOR = 1e-10


@dataclass(frozen=True)
class DecodeOptions:
    """How points are read from heat maps.

    Attributes:
        rule: how the cell with the highest value is refined.
            ``quarter``: by a quarter of a cell in x and y, to the higher neighbour [0]; not in a border row or column.
            ``dark``: to the maximum of the parabola that fits the logarithm of the smoothed map [1], by at most a cell.
            ``soft-argmax``: to the weighted mean of the cells within 3 ``sigma``.
            The latter two leave x alone in the first and last column, y in the first and last row. Within 3 ``sigma``
            of the border, where a Gaussian is cut off, they are drawn inwards: at sigma 1 by 0.06 cells at most, unless
            the highest value is in the border itself.
        sigma: deviation of the Gaussians in cells, on which ``dark`` and ``soft-argmax`` depend.
        temperature: of ``soft-argmax``; cells weigh ``value ** (1 / temperature)``, negative values nothing.
    """

    rule: Literal["quarter", "dark", "soft-argmax"] = "quarter"
    sigma: float = 1.0
    temperature: float = 0.5

    def __post_init__(self) -> None:
        require_choices("decode.", self)
        require("decode.", above=0, sigma=self.sigma, temperature=self.temperature)


class Detections(NamedTuple):
    """Points (B, K, 2), x then y, in pixels of the image, and the highest value of each map (B, K); both float32.

    A map without a positive value shows nothing: its score is at most 0, and its point means nothing.
    """

    points: Tensor
    scores: Tensor


def gaussian_targets(
    points: Tensor, visible: Tensor, image_size: Size, map_size: Size, sigma: float = 1.0, published: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the heat maps that a network should give: Gaussians of peak 1.

    Args:
        points: (B, K, 2), x then y, pixels of the image; those of invisible points may be anything.
        visible: (B, K) bool.
        image_size: width and height in pixels.
        map_size: width and height in cells.
        sigma: deviation in cells.
        published: Gaussians as in [2]: around the middle of the cell that holds the point, 0 beyond 3 ``sigma`` in x or
            y. By default they are around the point itself, and are not cut off.

    Returns:
        Maps (B, K, h, w) float32, 0 for invisible points, and (B, K) bool: the point is visible and inside the image.
        Points outside have the part of their Gaussian that reaches into the image, as in [2].

    Raises:
        ConfigError: a sigma that is not above 0, or shapes that do not fit together.
    """
    require(above=0, sigma=sigma)
    if points.shape != (*visible.shape, 2):
        raise ConfigError(f"points of shape {tuple(points.shape)}: expected {(*visible.shape, 2)} as for visible")
    cells = torch.where(visible[..., None], resize_points(points.float(), image_size, map_size), 0)
    # Truncated as in [2]: a point less than a cell left of the image, or above it, counts as inside the first cell.
    centres = (cells + 0.5).trunc() if published else cells
    sides = []
    for axis in (0, 1):
        distance = torch.arange(map_size[axis], device=cells.device) - centres[..., axis, None]
        side = torch.exp(-0.5 * (distance / sigma).square())
        sides.append(torch.where(distance.abs() > _REACH * sigma, 0, side) if published else side)
    across, down = sides
    maps = down[..., :, None] * across[..., None, :] * visible[..., None, None]
    inside = ((cells >= -0.5) & (cells <= cells.new_tensor(map_size) - 0.5)).all(dim=-1)
    return maps, visible & inside


def decode(maps: Tensor, image_size: Size, options: DecodeOptions = DecodeOptions()) -> Detections:
    """Return the points that heat maps show.

    Args:
        maps: (B, K, h, w), any float dtype.
        image_size: width and height of the image in pixels.
        options: see :class:`DecodeOptions`.
    """
    cells, scores = decode_cells(maps, options)
    return Detections(resize_points(cells, (maps.shape[-1], maps.shape[-2]), image_size), scores)


def decode_cells(maps: Tensor, options: DecodeOptions = DecodeOptions()) -> tuple[Tensor, Tensor]:
    """Return points (B, K, 2), x then y, in cells of ``maps`` (B, K, h, w), and the highest values (B, K); float32."""
    if maps.ndim != 4 or not maps.numel():
        raise ConfigError(f"heat maps of shape {tuple(maps.shape)}: expected (B, K, h, w), none of them 0")
    with torch.autocast(maps.device.type, enabled=False):
        maps = maps.float()
        height, width = maps.shape[-2:]
        scores, index = maps.flatten(2).max(dim=-1)
        peaks = torch.stack((index % width, index // width), dim=-1)
        inside = (peaks > 0) & (peaks < peaks.new_tensor([width - 1, height - 1]))
        shifts = _SHIFTS[options.rule](maps, peaks, inside, options)
    return peaks + torch.where(scores[..., None] > 0, shifts, 0), scores


def published_points(maps: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """Return the points of the official evaluation [2], whose rounding changes its errors.

    They are the numbers, from 1, of the pixels of the picture that hold the points of ``quarter``. Truncation favours
    0 left of the picture and above it. A map without a positive value has the point half a cell outside the corner of
    the crop.

    Args:
        maps: (B, K, h, w).
        centre: (B, 2) of the square crops, x then y, pixels of the picture, counted from its edge (the centre of the
            first pixel is at 0.5).
        side: (B,) of the crops, pixels of the picture; 200 times the ``scale`` of [2].

    Returns:
        (B, K, 2), float64 whole numbers.
    """
    cells, scores = decode_cells(maps)
    cells = torch.where(scores[..., None] > 0, cells, -1).double()
    centre, side = centre.double()[:, None], side.double()[:, None, None]
    size = cells.new_tensor([maps.shape[-1], maps.shape[-2]])
    return (centre + ((cells + 0.5) / size - 0.5) * side).trunc() + 1


def mirror_maps(maps: Tensor, order: Order) -> Tensor:
    """Return the heat maps of the mirrored image.

    Args:
        maps: (B, K, h, w).
        order: (K,), which point becomes which: ``faces.schemes.flip_permutation`` of the scheme's mirror pairs.

    Raises:
        ConfigError: as many numbers as maps are needed.
    """
    if len(order) != maps.shape[1]:
        raise ConfigError(f"an order of {len(order)} points for {maps.shape[1]} heat maps: give that of their scheme")
    return maps[:, torch.as_tensor(order, device=maps.device)].flip(-1)


def flip_average(maps: Tensor, of_mirrored: Tensor, order: Order) -> Tensor:
    """Return the mean of the maps (B, K, h, w) of images and those of the mirrored images; ``order`` as above."""
    return (maps + mirror_maps(of_mirrored, order)) / 2


def _quarter(maps: Tensor, peaks: Tensor, inside: Tensor, options: DecodeOptions) -> Tensor:
    near = _windows(maps, peaks, 1)
    slope = torch.stack((near[..., 1, 2] - near[..., 1, 0], near[..., 2, 1] - near[..., 0, 1]), dim=-1)
    return torch.where(inside.all(dim=-1, keepdim=True), slope.sign() / 4, 0)


def _dark(maps: Tensor, peaks: Tensor, inside: Tensor, options: DecodeOptions) -> Tensor:
    """Return one Newton step (B, K, 2) on the logarithm [1, equation 6], with differences of neighbouring cells."""
    smooth = _smoothed(maps, peaks, options.sigma).clamp(min=_FLOOR).log()
    left, right, above, below = smooth[..., 1, 0], smooth[..., 1, 2], smooth[..., 0, 1], smooth[..., 2, 1]
    slope = torch.where(inside, torch.stack((right - left, below - above), dim=-1) / 2, 0)
    bend = torch.stack((left + right, above + below), dim=-1) - 2 * smooth[..., 1, 1, None]
    xx, yy = torch.where(inside, bend, -1).unbind(-1)
    corners = smooth[..., 2, 2] + smooth[..., 0, 0] - smooth[..., 0, 2] - smooth[..., 2, 0]
    xy = torch.where(inside.all(dim=-1), corners / 4, 0)
    det = xx * yy - xy.square()
    step = torch.stack((xy * slope[..., 1] - yy * slope[..., 0], xy * slope[..., 0] - xx * slope[..., 1]), dim=-1)
    is_peak = (xx < 0) & (det > 0)
    step = step / torch.where(is_peak, det, 1)[..., None]
    return torch.where(is_peak[..., None], step, 0).clamp(-1, 1)


def _soft_argmax(maps: Tensor, peaks: Tensor, inside: Tensor, options: DecodeOptions) -> Tensor:
    reach = math.ceil(_REACH * options.sigma)
    near = _windows(maps, peaks, reach).clamp(min=0)
    highest = near.amax(dim=(-2, -1), keepdim=True)
    weights = (near / torch.where(highest > 0, highest, 1)) ** (1 / options.temperature)
    steps = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    moments = torch.stack(((weights.sum(-2) * steps).sum(-1), (weights.sum(-1) * steps).sum(-1)), dim=-1)
    total = weights.sum(dim=(-2, -1))[..., None]
    return torch.where(inside, moments / torch.where(total > 0, total, 1), 0)


_SHIFTS: dict[str, Callable[[Tensor, Tensor, Tensor, DecodeOptions], Tensor]] = {
    "quarter": _quarter,
    "dark": _dark,
    "soft-argmax": _soft_argmax,
}


def _smoothed(maps: Tensor, peaks: Tensor, sigma: float) -> Tensor:
    """Return the 3 x 3 cells (B, K, 3, 3) around each peak of the maps convolved with a Gaussian."""
    reach = math.ceil(_REACH * sigma)
    steps = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (steps / sigma).square())
    rows = torch.stack([F.pad(kernel / kernel.sum(), (k, 2 - k)) for k in range(3)])
    return rows @ _windows(maps, peaks, reach + 1) @ rows.T


def _windows(maps: Tensor, peaks: Tensor, reach: int) -> Tensor:
    """Return the cells (B, K, n, n) within ``reach`` of the ``peaks`` (B, K, 2); 0 outside the maps."""
    padded = F.pad(maps, [reach] * 4)
    count = 2 * reach + 1
    steps = torch.arange(count, device=maps.device)
    columns, rows = peaks[..., 0, None] + steps, peaks[..., 1, None] + steps
    index = rows[..., :, None] * padded.shape[-1] + columns[..., None, :]
    return padded.flatten(2).gather(2, index.flatten(2)).unflatten(2, (count, count))
