"""The two numbers by which unlabelled faces are sorted: flip shift and human shift.

Both are mean distances of points as parts of sqrt(w * h), the root of the area of the face's box: 0.05 is 5 percent.

Reference: Meta-CSKT, ACM MM 2023; its thresholds are 0.2 (flip shift) and 0.05 (human shift).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.landmark_sets import shared_points
from dife_lightning.faces.schemes import Scheme, flip_permutation, get_scheme
from dife_lightning.geometry.coordinates import mirror_points
from dife_lightning.metrics._float64 import in_float64
from dife_lightning.metrics.nme_rules import box_lengths


def flip_shift(
    points: Tensor, mirrored: Tensor, boxes: Tensor, scheme: str | Scheme, width: int | Tensor | None = None
) -> Tensor:
    """Return how far a model's points move if it sees the mirrored face.

    Mirror pairs are exchanged before the comparison: the left eye of the mirrored face is the right eye of the face.

    Args:
        points: (B, K, 2), x then y, found in the image; pixels.
        mirrored: (B, K, 2) found in the mirrored image; in its pixels, or with ``width`` None in those of the image.
        boxes: (B, 4) x0, y0, x1, y1 of the faces, in pixels of the image.
        scheme: of the points.
        width: of the image in pixels, or (B,) one for each.

    Returns:
        (B,) float64, 0 or more; NaN where a box has no area.

    Raises:
        ConfigError: another number of points than the scheme has, or a scheme without mirror pairs.
    """
    known = get_scheme(scheme)
    if not known.flip_pairs:
        raise ConfigError(f"flip shift: scheme '{known.name}' has no mirror pairs; give them in the scheme (mirror)")
    seen, there = _points_of(known, points), _points_of(known, mirrored)
    back = there if width is None else mirror_points(there, width)
    order = torch.as_tensor(flip_permutation(len(known.landmarks), known.flip_pairs), device=back.device)
    return _shift(seen, back[:, order], boxes)


def human_shift(
    human: Tensor,
    animal: Tensor,
    boxes: Tensor,
    human_scheme: str | Scheme = "aflw-19",
    animal_scheme: str | Scheme = "animalweb-9",
) -> Tensor:
    """Return how far the points of a model of human faces are from those of a model of animals, on the same faces.

    The mean is over the points that both schemes name: for the two defaults the seven of the published map, corners of
    the eyes, nose and corners of the mouth.

    Args:
        human: (B, K, 2), x then y, pixels of the image.
        animal: (B, L, 2), pixels of the same image.
        boxes: (B, 4) x0, y0, x1, y1 of the faces, in the same pixels.
        human_scheme: of the K points.
        animal_scheme: of the L points.

    Returns:
        (B,) float64, 0 or more; NaN where a box has no area.

    Raises:
        ConfigError: another number of points than a scheme has, or two schemes without a common point.
    """
    first, second = get_scheme(human_scheme), get_scheme(animal_scheme)
    _, (humans, animals) = shared_points((first, second))
    ours, theirs = _points_of(first, human), _points_of(second, animal)
    return _shift(ours[:, list(humans)], theirs[:, list(animals)], boxes)


def _points_of(scheme: Scheme, points: Tensor) -> Tensor:
    """Return points (B, K, 2) in float64; ConfigError if the scheme has another K."""
    if points.ndim != 3 or points.shape[1:] != (len(scheme.landmarks), 2):
        expected = f"(B, {len(scheme.landmarks)}, 2)"
        raise ConfigError(f"points of shape {tuple(points.shape)}: scheme '{scheme.name}' has {expected}")
    return in_float64(points)


def _shift(a: Tensor, b: Tensor, boxes: Tensor) -> Tensor:
    length = box_lengths(in_float64(boxes))
    return (a - b).norm(dim=-1).mean(dim=-1) / length.where(length > 0, torch.nan)
