"""Rules of the normalised mean error (NME) of landmarks: what an error is divided by, and which points count.

The default divides by ``sqrt(width * height)`` of the face's box and counts the visible points of the truth, all of
them. The published evaluation (Meta-CSKT, ACM MM 2023) differs from one data set to the other; ``PUBLISHED_RULES``
states each as the same options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.scheme_tables import Group
from dife_lightning.faces.schemes import Scheme, get_scheme, meanings
from dife_lightning.utils.checks import require_choice

#: ``box``: root of the area of the face's box. ``interocular``: distance of the true eye centres.
#: ``outer_corners``: distance of the true outer corners of the eyes.
Normalizer = Literal["box", "interocular", "outer_corners"]

#: The parts of the face whose distance a normaliser is, as the viewer sees them.
_EYES = {"interocular": ("left_eye", "right_eye"), "outer_corners": ("left_eye_outer", "right_eye_outer")}


@dataclass(frozen=True)
class NmeRule:
    """What the error of a point is divided by, and which points count.

    Attributes:
        length: ``box`` for sqrt(w * h) pixels; ``box_area`` for w * h itself; ``eyes`` for the distance between the
            means of the two groups of true points ``eyes``.
        eyes: indices of the points of the left and of the right eye, for ``length="eyes"`` alone.
        counted: ``visible`` points of the truth; ``all`` points; or ``positive``: those whose true x and y are both
            above 0. A face without any counted point is left out, but with ``positive`` its error is 0.
        zeros_are_right: a point whose predicted x or y is exactly 0 counts with the error 0.
    """

    length: Literal["box", "box_area", "eyes"] = "box"
    eyes: tuple[Group, Group] = ((), ())
    counted: Literal["visible", "positive", "all"] = "visible"
    zeros_are_right: bool = False


#: The published evaluation of each scheme, by its name; ``cofw-29`` is the 29-point set of COFW, which has no reader.
PUBLISHED_RULES: Mapping[str, NmeRule] = {
    "animalweb-9": NmeRule(counted="all", zeros_are_right=True),
    "horse-5": NmeRule(counted="positive"),
    "aflw-19": NmeRule("box_area", counted="all"),
    "cofw-29": NmeRule("eyes", ((8,), (9,)), "all"),
    "300w-68": NmeRule("eyes", ((36,), (45,)), "all"),
    "wflw-98": NmeRule("eyes", ((60,), (72,)), "all"),
}


def nme_rule(scheme: str | Scheme, normalizer: Normalizer | None = None, *, published: bool = False) -> NmeRule:
    """Return the rule of a landmark scheme.

    Args:
        scheme: name of the scheme, or the scheme.
        normalizer: what errors are divided by; ``box`` if it is None.
        published: take the rule of the published evaluation; it has its own normaliser.

    Raises:
        ConfigError: unknown scheme or normaliser, a scheme that does not name its eyes, ``published`` together with a
            normaliser, or without a published rule of the scheme.
    """
    if published:
        return _published(str(scheme), normalizer)
    known, by = get_scheme(scheme), normalizer or "box"
    require_choice("NME normalizer", by, get_args(Normalizer))
    return NmeRule() if by == "box" else NmeRule("eyes", _eyes(known, by))


def _published(name: str, normalizer: str | None) -> NmeRule:
    if normalizer is not None:
        raise ConfigError(f"NME with published=True and normalizer '{normalizer}'; expected one of the two")
    if name not in PUBLISHED_RULES:
        raise ConfigError(f"no published rule of NME for scheme '{name}'. {did_you_mean(name, PUBLISHED_RULES)}")
    return PUBLISHED_RULES[name]


def _eyes(scheme: Scheme, normalizer: str) -> tuple[Group, Group]:
    points, (left, right) = meanings(scheme), _EYES[normalizer]
    if left not in points or right not in points:
        hint = "use normalizer box" if scheme.eye_convention == "unknown" else "try box, interocular or outer_corners"
        raise ConfigError(f"NME by {normalizer}: scheme '{scheme.name}' has no points {left} and {right}; {hint}")
    return points[left], points[right]


def counted_points(truth: Tensor, visible: Tensor, rule: NmeRule) -> Tensor:
    """Return (B, K) bool: which of the true points (B, K, 2), of which some are ``visible`` (B, K), count."""
    if rule.counted == "visible":
        return visible.bool()
    return (truth > 0).all(-1) if rule.counted == "positive" else torch.ones_like(visible, dtype=torch.bool)


def face_lengths(truth: Tensor, visible: Tensor, boxes: Tensor | None, rule: NmeRule) -> Tensor:
    """Return (B,) float64: the length of each face, by which its errors are divided; 0 where it is unknown.

    It is unknown where the box is not known (NaN) or has no area, and where the eyes are in one place or, by a rule
    that counts visible points, not all of their points are visible.

    Args:
        truth: (B, K, 2) pixels.
        visible: (B, K) bool.
        boxes: (B, 4) x0, y0, x1, y1 in the same pixels; None where the faces have none.
        rule: of the NME.

    Raises:
        DataError: the rule needs boxes, and there are none.
    """
    if rule.length == "eyes":
        left, right = (truth.double()[:, list(group)].mean(dim=1) for group in rule.eyes)
        distance = (left - right).norm(dim=-1)
        points = [k for group in rule.eyes for k in group]
        known = visible.bool()[:, points].all(dim=-1) if rule.counted == "visible" else distance > 0
        return distance.where(known & distance.isfinite(), 0.0)
    if boxes is None:
        raise DataError("NME by the box: the faces have no boxes; set normalizer to interocular, or give boxes")
    length = box_lengths(boxes)
    return length.square() if rule.length == "box_area" else length


def box_lengths(boxes: Tensor) -> Tensor:
    """Return (B,) float64 sqrt(w * h) of ``boxes`` (B, 4) x0, y0, x1, y1; 0 for a box without area or with NaN."""
    low, high = boxes.double().split(2, dim=-1)
    sides = high - low
    return sides.prod(dim=-1).where((sides > 0).all(dim=-1), 0.0).sqrt()  # a comparison with NaN is False
