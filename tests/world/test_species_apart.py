"""No species is a near copy of another: their faces differ in proportion, not only in colour."""

from __future__ import annotations

import copy
import math
from functools import cache
from importlib import resources
from itertools import combinations

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from dife_lightning.world.face.species import Species, load_species, parse_species
from dife_lightning.world.parameters import SHAPE_TRAITS
from dife_lightning.world.scene.factors import individual
from tests.world.samples import SPECIES

SHIPPED = yaml.safe_load((resources.files("dife_lightning.world") / "species.yaml").read_text(encoding="utf-8"))
FACES = 24
#: In units of the size of a face (see `distance`). Two draws of one table are 0.015 apart, the nearest species 0.09.
NEAR = 0.05
#: Of 33 ranges of shape traits, 5 of them of the ears. The nearest species have 7 that do not overlap.
FEW_RANGES = 5


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Root mean square distance of points (n, 2), after their mean is moved to 0 and their mean square scaled to 1."""
    centred = [points - points.mean(0) for points in (a, b)]
    first, second = (points / np.sqrt(np.square(points).sum(1).mean()) for points in centred)
    return float(np.sqrt(np.square(first - second).sum(1).mean()))


def mean_face(species: Species) -> NDArray[np.float64]:
    """Mean landmarks and outline (25, 2) on the face plane, seen from the front."""
    faces = [individual(species, "train", index) for index in range(FACES)]
    return np.mean([np.concatenate((one.landmarks, one.outline)) for one in faces], axis=0)


@cache
def shipped_face(name: str) -> NDArray[np.float64]:
    return mean_face(load_species(name))


def ends(table, section, trait):
    row = table[section][trait]
    return row if isinstance(row, list) else [row, row]


def ranges_apart(a, b) -> int:
    """Count the shape traits whose ranges do not overlap."""
    rows = [(ends(a, part, name), ends(b, part, name)) for part, names in SHAPE_TRAITS.items() for name in names]
    return sum(low_a > high_b or low_b > high_a for (low_a, high_a), (low_b, high_b) in rows)


def disguised(name):
    """A copy of a species with the ears, the coat and the hair of others."""
    table, other = copy.deepcopy(SHIPPED[name]), SHIPPED["rabbit" if name != "rabbit" else "bear"]
    table["ears"], table["coat"], table["hair"] = other["ears"], SHIPPED["human"]["coat"], SHIPPED["wild"]["hair"]
    return table


def test_eight_animals_and_a_human_ship_beside_the_mixed_kind():
    assert len(set(SPECIES) - {"wild"}) == 9


@pytest.mark.parametrize(("one", "other"), list(combinations(SPECIES, 2)))
def test_two_species_differ_in_the_proportions_of_their_faces(one, other):
    assert distance(shipped_face(one), shipped_face(other)) > NEAR
    assert ranges_apart(SHIPPED[one], SHIPPED[other]) > FEW_RANGES


@pytest.mark.parametrize("species", SPECIES)
def test_a_copy_would_be_found_also_with_other_ears_and_another_coat(species):
    copied = parse_species("copy", disguised(species))
    assert distance(shipped_face(species), mean_face(copied)) < 0.5 * NEAR
    assert ranges_apart(SHIPPED[species], disguised(species)) <= FEW_RANGES


def test_the_distance_is_that_of_a_worked_example():
    square = np.array([(0, 0), (2, 0), (2, 2), (0, 2)], float)
    assert distance(square, 3 * square + (5, -7)) == pytest.approx(0, abs=1e-12)
    # Centred, the corners are (-1, -1), (1, -1), (1, 1), (-1, 1), with mean square 2; that of the line is 5.
    # The products of their x are 3, 3, 1 and 1, on average 2.
    line = np.array([(-3, 0), (3, 0), (1, 0), (-1, 0)], float)
    assert distance(square, line) == pytest.approx(math.sqrt(2 - 2 * 2 / math.sqrt(2 * 5)))
