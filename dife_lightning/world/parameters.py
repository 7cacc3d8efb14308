"""Pose and shape of a face of the embedded world by its name, without rendering."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world.face.anatomy import Individual
from dife_lightning.world.face.species import Species
from dife_lightning.world.scene.factors import Split, individual

#: The traits that determine the shape of a head, by section.
SHAPE_TRAITS: dict[str, tuple[str, ...]] = {
    "head": ("width", "top", "bottom", "taper", "cheek", "depth", "brow", "socket"),
    "eyes": ("distance", "height", "width", "opening", "tilt"),
    "nose": ("height", "width", "size", "bump", "bridge"),
    "muzzle": ("length", "width", "height", "center"),
    "mouth": ("height", "width", "upper", "gap", "drop", "lobes"),
    "ears": ("angle", "lean", "length", "width", "lift"),
}
#: Names of the shape parameters.
SHAPE_NAMES = (*(f"{section}.{name}" for section, names in SHAPE_TRAITS.items() for name in names), "mouth_open")
_NAME = re.compile(r"world/([^/>]+)/(train|val|test)/(\d+)")


@dataclass(frozen=True)
class FaceParameters:
    """Pose and shape: yaw, pitch and roll in degrees, as in ``Individual``; and the values of ``SHAPE_NAMES``."""

    pose: NDArray[np.float64]
    shape: NDArray[np.float64]


def parse_name(name: str) -> tuple[str, Split, int] | None:
    """Return species, split and index of a name such as ``world/human/test/470773``; None for other names."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], cast(Split, found[2]), int(found[3]))


def face_parameters(species: str | Species, split: Split, index: int) -> FaceParameters:
    """Return pose and shape of a face.

    Raises:
        ConfigError: unknown species or split, or a negative index.
    """
    return parameters_of(individual(species, split, index))


def parameters_of(one: Individual) -> FaceParameters:
    """Return pose and shape of an individual."""
    traits = [getattr(getattr(one.traits, part), name) for part, names in SHAPE_TRAITS.items() for name in names]
    return FaceParameters(np.array(one.pose), np.array([*traits, one.mouth_open]))
