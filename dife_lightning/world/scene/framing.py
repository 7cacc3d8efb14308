"""Framing: rotation, scale and shift of the whole image, background included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dife_lightning.utils.checks import require, require_choice

FramingKind = Literal["plain", "jittered"]

#: Jitter of the evaluation: degrees, scale, shift as a fraction of the side.
MAX_ROTATION, SCALE_RANGE, MAX_SHIFT = 29.0, (0.75, 1.25), 0.1


@dataclass(frozen=True)
class Framing:
    """Rotation (degrees clockwise) and scaling about the image centre, then a shift by fractions of the side."""

    rotation_deg: float = 0.0
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def matrix(self, size: int) -> NDArray[np.float64]:
        """Return the affine map (2, 3) from plain to framed pixels of an image of ``size`` x ``size``."""
        angle = math.radians(self.rotation_deg)
        cos, sin = self.scale * math.cos(angle), self.scale * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        center = np.full(2, (size - 1) / 2)
        offset = center + np.array([self.shift_x, self.shift_y]) * size - linear @ center
        return np.concatenate((linear, offset[:, None]), 1)


def draw_framing(kind: FramingKind, rng: np.random.Generator) -> Framing:
    """Draw a framing: ``plain`` is the identity, ``jittered`` is used in the evaluation.

    Raises:
        ConfigError: unknown kind.
    """
    if kind == "plain":
        return Framing()
    require_choice("framing", kind, get_args(FramingKind))
    rotation, scale = rng.uniform(-MAX_ROTATION, MAX_ROTATION), rng.uniform(*SCALE_RANGE)
    shift_x, shift_y = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
    return Framing(float(rotation), float(scale), float(shift_x), float(shift_y))


def framing_for(kind: FramingKind, seed: int, index: int) -> Framing:
    """Return the framing of item ``index`` of a data set with ``seed``.

    Raises:
        ConfigError: unknown kind or negative seed.
    """
    require(at_least=0, seed=seed)
    return draw_framing(kind, np.random.default_rng(np.random.SeedSequence([seed, index, 1])))
