"""Inversion: find the w whose image is most like a given image, for a generator of aligned faces.

The search is that of latent exploration (``exploration``), with the image in place of the features: images and their
finite differences are compared at several scales, without any network but the generator.

Faces of an evaluation are rotated, scaled and shifted, and no w of a generator of aligned faces gives such an image.
Four numbers beside w therefore place the synthesised image in the given one (``pose``, ours).
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

#: Units of the four numbers of a pose: degrees, exponent of the scale, fractions of the side.
_TURN, _GROWTH, _SHIFT = 30.0, 0.25, 0.1
#: Poses tried before the search: all combinations of these values.
_TURNS, _GROWTHS, _SHIFTS = (-0.8, -0.4, 0.0, 0.4, 0.8), (-0.8, 0.0, 0.8), (-1.0, 0.0, 1.0)
#: Side of the images at which they are tried, and total pixels of the images that are inverted at once.
_TRIAL_SIDE, _PIXELS = 32, 2**15


@dataclass(frozen=True)
class Inversion:
    """The result, per image of the batch.

    Attributes:
        w: (B, num_ws, w_dim).
        pose: (B, 4) where the image of ``w`` lies in the given one, see :func:`pose_matrix`; zeros without poses.
    """

    w: Tensor
    pose: Tensor


def pose_matrix(pose: Tensor, width: int, height: int) -> Tensor:
    """Return (B, 2, 3) from pixels of the synthesised image to those of the given one; ``pose`` is (B, 4)."""
    turn, growth, shift = pose[:, 0], pose[:, 1], pose[:, 2:]
    return affine_matrix(turn * _TURN, torch.exp(growth * _GROWTH), shift * _SHIFT, width, height)


def posed(maps: Tensor, pose: Tensor, height: int, width: int) -> Tensor:
    """Place maps (B, C, h, w) of the synthesised image in the given one, as (B, C, height, width)."""
    return warp(maps, sampling_grid(pose_matrix(pose, width, height), height, width, width, height))


def image_code(images: Tensor, levels: int = 4) -> Tensor:
    """Return a code of images (B, 3, S, S); the mean squared difference of two codes is the loss of the inversion.

    This loss is the sum, over the image and its halvings, of the mean squared differences of the pixels and of their
    finite differences to the right and down.

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
    """A generator's images as the features of ``latent.exploration.explore``: w and pose in one vector."""

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
        """Return the code of the images of ``w`` (B, num_ws, w_dim + 4); ``layer`` is ignored."""
        found = self.split(w)
        with torch.autocast(w.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = self.generator.image(found.w).float()
        side = self.generator.resolution
        return image_code(posed(images, found.pose, side, side) if self.pose else images)

    def start(self, images: Tensor) -> Tensor:
        """Return the mean w with the pose, among those tried, in which its face fits ``images`` best."""
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

    On a CPU the result for an image is bit-equal whatever else is in the batch: the same number of images is always
    inverted at once, because kernels may sum in another order for other batch sizes.

    Args:
        generator: frozen.
        images: on the generator's device; resized to its size.
        options: of the search (without ``deform``); None returns the start, which is the mean face.
        pose: also search for the pose.
        bfloat16: run the generator in bfloat16 during the search; it takes half the time on hardware that supports it.
    """
    with torch.inference_mode(False), torch.autocast(images.device.type, enabled=False):
        target, side = PosedImages(generator, pose, bfloat16), generator.resolution
        wanted = F.interpolate(images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)
        chunk = max(1, _PIXELS // side**2)
        found = [_search(target, part, options, chunk) for part in wanted.clone().split(chunk)]
        return Inversion(torch.cat([one.w for one in found]), torch.cat([one.pose for one in found]))


def _search(target: PosedImages, images: Tensor, options: ExplorationOptions | None, count: int) -> Inversion:
    """Invert ``count`` images or fewer; the batch is padded with the last one."""
    full = torch.cat((images, images[-1:].expand(count - len(images), -1, -1, -1)))
    with torch.no_grad():
        start, code = target.start(full), image_code(full)
    if options is None:
        vectors = start[:, None].expand(-1, target.num_ws, -1)
    else:
        vectors = explore(target, 0, code, start, target.mean, options).w
    return target.split(vectors[: len(images)].contiguous())
