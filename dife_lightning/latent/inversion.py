"""GAN inversion: find the w whose image is most similar to a given image.

The search is that of latent exploration, with images instead of features: pixels and their finite differences are
compared at several scales.

Evaluation faces are rotated, scaled and shifted, but the generators make aligned faces. So a pose of four numbers,
which places the generated image in the given one, is searched for together with w.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.geometry.coordinates import affine_matrix, resize_maps, sampling_grid, warp
from dife_lightning.latent.exploration import ExplorationOptions, explore
from dife_lightning.pretrained.generators import Generator

#: Units of a pose: degrees of rotation, exponent of the scale, shift as a fraction of the side.
_TURN, _GROWTH, _SHIFT = 30.0, 0.25, 0.1
#: Initial poses: all combinations of these values are tried.
_TURNS, _GROWTHS, _SHIFTS = (-0.8, -0.4, 0.0, 0.4, 0.8), (-0.8, 0.0, 0.8), (-1.0, 0.0, 1.0)
#: Side of the images with which initial poses are tried; total pixels of the images that are inverted at once.
_TRIAL_SIDE, _PIXELS = 32, 2**15


@dataclass(frozen=True)
class Inversion:
    """The result, per image of the batch.

    Attributes:
        w: (B, num_ws, w_dim).
        pose: (B, 4) rotation, scale, and shift in x and y, see :func:`pose_matrix`; zeros without poses.
    """

    w: Tensor
    pose: Tensor


def pose_matrix(pose: Tensor, width: int, height: int) -> Tensor:
    """Return the affine maps (B, 2, 3) from generated to given images, in pixels, for ``pose`` (B, 4)."""
    turn, growth, shift = pose[:, 0], pose[:, 1], pose[:, 2:]
    return affine_matrix(turn * _TURN, torch.exp(growth * _GROWTH), shift * _SHIFT, width, height)


def posed(maps: Tensor, pose: Tensor, height: int, width: int) -> Tensor:
    """Warp maps (B, C, h, w) of generated images to the given images: (B, C, height, width)."""
    return warp(maps, sampling_grid(pose_matrix(pose, width, height), height, width, width, height))


def image_code(images: Tensor, levels: int = 4) -> Tensor:
    """Return the image as a vector; the mean squared difference of two such vectors is the loss of the inversion.

    That is the sum, over ``levels`` scales of images (B, 3, S, S), of the mean squared differences of the pixels and of
    their finite differences in x and y.

    Returns:
        (B, D, 1, 1) float32.
    """
    parts = []
    for level in range(levels):
        images = F.avg_pool2d(images, 2) if level else images
        parts += [images, images.diff(dim=2), images.diff(dim=3)]
    size = sum(part[0].numel() for part in parts)
    return torch.cat([part.flatten(1) * (size / part[0].numel()) ** 0.5 for part in parts], dim=1)[:, :, None, None]


class PosedImages:
    """Adapter for :func:`~dife_lightning.latent.exploration.explore`: images as features; w and pose as one vector."""

    def __init__(self, generator: Generator, pose: bool, bfloat16: bool = False) -> None:
        self.generator, self.pose, self.num_ws = generator, pose, generator.num_ws
        self.bfloat16 = bfloat16

    @property
    def mean(self) -> Tensor:
        """The mean w with pose 0, (w_dim + 4,)."""
        return F.pad(self.generator.mean_w, (0, 4))

    def split(self, vectors: Tensor) -> Inversion:
        """Split (B, num_ws, w_dim + 4) into w and pose."""
        pose = vectors[..., -4:].mean(dim=1)
        return Inversion(vectors[..., :-4], pose if self.pose else torch.zeros_like(pose))

    def features(self, w: Tensor, layer: int) -> Tensor:
        """Return :func:`image_code` of the images of ``w`` (B, num_ws, w_dim + 4); ``layer`` is ignored."""
        found = self.split(w)
        with torch.autocast(w.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = self.generator.image(found.w).float()
        side = self.generator.resolution
        return image_code(posed(images, found.pose, side, side) if self.pose else images)

    def start(self, images: Tensor) -> Tensor:
        """Return the mean w, with the initial pose in which its face is most similar to ``images``."""
        start = self.mean.expand(len(images), -1).clone()
        if self.pose:
            side = min(_TRIAL_SIDE, self.generator.resolution)
            shifts = itertools.product(_SHIFTS, _SHIFTS)
            trials = [[t, g, x, y] for t, g, (x, y) in itertools.product(_TURNS, _GROWTHS, shifts)]
            poses = torch.tensor(trials, device=images.device)
            face = resize_maps(self.generator.image(self.generator.mean_w[None]), side)
            codes = image_code(posed(face.expand(len(poses), -1, -1, -1), poses, side, side))
            wanted = image_code(resize_maps(images, side))
            best = [int((codes - one).square().mean(dim=(1, 2, 3)).argmin()) for one in wanted]
            start[:, -4:] = poses[best]
        return start


def invert(
    generator: Generator,
    images: Tensor,
    options: ExplorationOptions | None,
    pose: bool = True,
    bfloat16: bool = False,
) -> Inversion:
    """Find w and pose of ``images`` (B, 3, S, S) in [-1, 1], each image independently.

    On a CPU the result for an image does not depend on the batch, bit for bit: batches are padded to a fixed size,
    because kernels may sum in another order for other batch sizes.

    Args:
        generator: frozen.
        images: on the generator's device; resized to its size.
        options: of the search (without ``deform``); None returns the start, the mean face.
        pose: also search for the pose.
        bfloat16: run the generator in bfloat16, which halves the time on hardware that supports it.
    """
    with torch.inference_mode(False), torch.autocast(images.device.type, enabled=False):
        target, side = PosedImages(generator, pose, bfloat16), generator.resolution
        wanted = F.interpolate(images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)
        chunk = max(1, _PIXELS // side**2)
        found = [_search(target, part, options, chunk) for part in wanted.clone().split(chunk)]
        return Inversion(torch.cat([one.w for one in found]), torch.cat([one.pose for one in found]))


def _search(target: PosedImages, images: Tensor, options: ExplorationOptions | None, count: int) -> Inversion:
    """Invert up to ``count`` images; the batch is padded with copies of the last one."""
    full = torch.cat((images, images[-1:].expand(count - len(images), -1, -1, -1)))
    with torch.no_grad():
        start, code = target.start(full), image_code(full)
    if options is None:
        vectors = start[:, None].expand(-1, target.num_ws, -1)
    else:
        vectors = explore(target, 0, code, start, target.mean, options).w
    return target.split(vectors[: len(images)].contiguous())
