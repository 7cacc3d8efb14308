"""Pose and shape of a face, known by its name."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import yaml

from dife_lightning.world import WorldFaces, render
from dife_lightning.world.face.species import parse_species
from dife_lightning.world.parameters import SHAPE_NAMES, SHAPE_TRAITS, face_parameters, parse_name
from dife_lightning.world.scene.factors import draw_factors, individual
from tests.world.samples import SPECIES, sample


@pytest.mark.parametrize("species", SPECIES)
def test_pose_and_mouth_are_those_of_the_render(species):
    for index in range(3):
        one, found = sample(species, index), face_parameters(species, "val", index)
        assert tuple(found.pose) == one.pose
        assert found.shape[SHAPE_NAMES.index("mouth_open")] == one.mouth_open


def test_traits_that_a_species_fixes_are_found_under_their_names():
    text = (resources.files("dife_lightning.world") / "species.yaml").read_text("utf-8")
    table = yaml.safe_load(text)["dog"]
    fixed = {}
    for number, name in enumerate(name for name in SHAPE_NAMES if "." in name):
        section, trait = name.split(".")
        value = table[section][trait]
        low, high = value if isinstance(value, list) else (value, value)
        fixed[name] = low + (high - low) * (number % 5) / 4
        table[section] = {**table[section], trait: fixed[name]}
    found = face_parameters(parse_species("dog", table), "val", 0)
    assert len(found.shape) == len(SHAPE_NAMES) == len(fixed) + 1
    assert dict(zip(SHAPE_NAMES[:-1], found.shape, strict=False)) == pytest.approx(fixed)


def test_every_number_of_a_shape_is_a_trait_and_most_change_from_face_to_face():
    assert sum(map(len, SHAPE_TRAITS.values())) + 1 == len(SHAPE_NAMES) == len(set(SHAPE_NAMES))
    shapes = np.stack([face_parameters("cat", "val", index).shape for index in range(6)])
    assert (shapes.std(axis=0) > 0).mean() > 0.9


def test_the_individual_is_the_one_on_the_stage_also_where_it_was_drawn_again():
    for species, index in [(species, index) for species in SPECIES for index in range(12)]:
        alone, staged = individual(species, "train", index), draw_factors(species, "train", index).one
        assert alone.pose == staged.pose
        np.testing.assert_array_equal(alone.landmarks, staged.landmarks)


def test_a_name_says_which_face_it_is():
    faces = WorldFaces("wild", "test", 5)
    species, split, index = parse_name(faces[4]["name"])
    np.testing.assert_array_equal(render(species, split, index).image, faces[4]["image"])


@pytest.mark.parametrize(
    "name", ["celeba/000001.jpg", "world/cat/other/3", "world/cat/test/x", "world/cat/test/3/4", ""]
)
def test_names_of_photographs_say_nothing(name):
    assert parse_name(name) is None
