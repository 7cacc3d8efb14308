"""Labels of positive faces as means over several views of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dife_lightning.faces.few_labels import FewLabelFaces
from dife_lightning.geometry.coordinates import affine_matrix, apply_affine, invert_affine, sampling_grid, warp
from dife_lightning.methods._meta_cskt.shifts import batches_of

#: Degrees and scale of each view.
VIEWS = ((0.0, 1.0), (12.0, 0.9), (-12.0, 1.1), (-12.0, 0.9), (12.0, 1.1))


def points_of_views(
    faces: FewLabelFaces,
    chosen: frozenset[str],
    finder: Callable[[Tensor], Tensor],
    views: int,
    device: torch.device,
    part: tuple[int, int] = (0, 1),
) -> dict[str, Tensor]:
    """Return the mean of the points that ``finder`` sees in turned and scaled images of the ``chosen`` faces.

    Args:
        faces: of the training.
        chosen: names of unlabelled ones.
        finder: maps images (B, 3, S, S) to points (B, K, 2) in their pixels.
        views: how many of :data:`VIEWS`, the image as it is first.
        device: of the images.
        part: rank and number of processes; points of this process's faces alone are returned.
    """
    found: dict[str, Tensor] = {}
    for names, images, _ in batches_of(faces, device, part, chosen):
        side = images.shape[-1]
        sums = images.new_zeros(())
        for angle, scale in VIEWS[:views]:
            turn, size = images.new_full((len(names),), angle), images.new_full((len(names),), scale)
            matrix = affine_matrix(turn, size, images.new_zeros(len(names), 2), side, side)
            view = warp(images, sampling_grid(matrix, side, side, side, side))
            sums = sums + apply_affine(invert_affine(matrix), finder(view))
        found |= dict(zip(names, (sums / views).unbind(), strict=True))
    return found
