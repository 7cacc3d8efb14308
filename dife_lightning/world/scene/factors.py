"""The random factors of a sample, which depend on species, split and index, but not on size or framing."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dife_lightning.errors import ConfigError
from dife_lightning.utils.checks import require_choice
from dife_lightning.world.face.anatomy import Individual, draw_individual
from dife_lightning.world.face.canonical import MIN_JACOBIAN, ThinPlateSpline, canonical_map, smallest_jacobian
from dife_lightning.world.face.relief import EXTENT, Relief, build_relief
from dife_lightning.world.face.species import Species, load_species
from dife_lightning.world.scene.camera import Camera, rotation_matrix
from dife_lightning.world.scene.framing import Framing
from dife_lightning.world.scene.surroundings import Surroundings, draw_surroundings

Split = Literal["train", "val", "test"]

_MAX_REDRAWS = 50


@dataclass(frozen=True)
class SampleFactors:
    """Individual, surroundings, height field, canonical map and position of a sample.

    ``placement`` is the length of a face-plane unit as a fraction of the image, and (x, y) of the head's pivot.
    """

    one: Individual
    surroundings: Surroundings
    relief: Relief
    spline: ThinPlateSpline
    placement: tuple[float, float, float]

    def camera(self, size: int, framing: Framing) -> Camera:
        """Return the camera for an image of ``size`` x ``size`` pixels."""
        unit, x, y = self.placement
        plain = np.array([[unit * size, 0, (x + 0.5) * size - 0.5], [0, unit * size, (y + 0.5) * size - 0.5]])
        frame = framing.matrix(size)
        to_pixels = frame[:, :2] @ plain
        to_pixels[:, 2] += frame[:, 2]
        return Camera(rotation_matrix(*self.one.pose), to_pixels, self.relief.pivot)


def sample_rng(species: str, split: str, index: int) -> np.random.Generator:
    """Return the random generator of a sample.

    Raises:
        ConfigError: unknown split or negative index.
    """
    require_choice("split", split, get_args(Split))
    if index < 0:
        raise ConfigError(f"index is {index}; expected at least 0")
    entropy = [zlib.crc32(species.encode()), zlib.crc32(split.encode()), index]
    return np.random.default_rng(np.random.SeedSequence(entropy))


def draw_factors(species: str | Species, split: str, index: int) -> SampleFactors:
    """Draw all factors; an individual whose canonical map folds is drawn again."""
    one, spline, rng = _draw_face(species, split, index)
    surroundings, relief = draw_surroundings(one.traits.scene, one.traits.coat, rng), build_relief(one)
    return SampleFactors(one, surroundings, relief, spline, _placement(one, relief, rng))


def individual(species: str | Species, split: str, index: int) -> Individual:
    """Return only the individual of :func:`draw_factors` (ten times as fast)."""
    return _draw_face(species, split, index)[0]


def _draw_face(
    species: str | Species, split: str, index: int
) -> tuple[Individual, ThinPlateSpline, np.random.Generator]:
    table = load_species(species) if isinstance(species, str) else species
    rng = sample_rng(table.name, split, index)
    for _ in range(_MAX_REDRAWS):
        one = draw_individual(table, rng)
        spline = canonical_map(one)
        if smallest_jacobian(spline, one) > MIN_JACOBIAN:
            return one, spline, rng
    raise ConfigError(f"species '{table.name}': the face folds in {_MAX_REDRAWS} draws; change its eyes, nose or mouth")


def _placement(one: Individual, relief: Relief, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a placement that fits the head with its ears into about the middle three quarters of the image."""
    solid = relief.height > 0
    line = np.linspace(-EXTENT, EXTENT, solid.shape[0])
    rows, cols = line[solid.any(1)], line[solid.any(0)]
    top, bottom, width = max(rows[0], -1.55), rows[-1], min(cols[-1] - cols[0], 2.5)
    fill, shift_x, shift_y = rng.uniform(-1, 1, 3) * (0.035, 0.025, 0.025)
    unit = (0.74 + fill) / max(bottom - top, 0.95 * width)
    return float(unit), float(shift_x), float(shift_y - unit * (top + bottom) / 2)
