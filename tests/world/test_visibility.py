"""Which landmarks can be seen and which pixels are face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import yaml

from dife_lightning.world import Framing, landmarks_only, load_species, render
from dife_lightning.world.face.paint import read_surface
from dife_lightning.world.face.species import parse_species
from dife_lightning.world.scene import renderer
from dife_lightning.world.scene.camera import cast
from dife_lightning.world.scene.factors import draw_factors
from dife_lightning.world.scene.surroundings import OCCLUDED_SHARE, draw_surroundings
from tests.world.samples import JITTER, SPECIES, sample


@pytest.mark.parametrize("framing", [None, JITTER])
@pytest.mark.parametrize("species", SPECIES)
def test_canonical_coordinates_are_finite_exactly_on_the_mask(species, framing):
    for index in range(4):
        one = sample(species, index, framing=framing)
        np.testing.assert_array_equal(np.isfinite(one.uv).all(-1), one.mask)
        np.testing.assert_array_equal(np.isnan(one.uv).all(-1), ~one.mask)
        assert np.nanmax(np.abs(one.uv)) <= 1


@pytest.mark.parametrize("species", SPECIES)
def test_a_face_fills_a_sensible_part_of_the_picture(species):
    for index in range(4):
        share = sample(species, index).mask.mean()
        assert 0.08 < share < 0.6


@pytest.mark.parametrize("species", SPECIES)
def test_visible_landmarks_are_in_the_picture_and_at_the_mask(species):
    for index in range(7):
        one = sample(species, index, size=128)
        x, y = np.rint(one.points[one.visible]).astype(int).T
        assert np.all((x >= 0) & (x < 128) & (y >= 0) & (y < 128))
        around = np.array(
            [one.mask[max(b - 2, 0) : b + 3, max(a - 2, 0) : a + 3].any() for a, b in zip(x, y, strict=True)]
        )
        assert around.all()


@pytest.mark.parametrize("species", SPECIES)
def test_neither_hair_nor_snout_hides_a_landmark_of_a_species_in_most_faces(species):
    seen = np.mean([landmarks_only(species, "train", index)[1] for index in range(40)], axis=0)
    assert seen.min() > 0.75


def test_landmarks_outside_the_picture_are_not_visible():
    shifts = [Framing(shift_x=0.5), Framing(shift_y=-0.6), Framing(scale=5.0)]
    for framing in shifts:
        points, visible = landmarks_only("cat", "val", 0, framing=framing)
        outside = ((points < -0.5) | (points > 63.5)).any(1)
        assert outside.any()
        assert not (visible & outside).any()


def test_what_stands_in_front_of_the_head_hides_landmarks_and_mask(monkeypatch):
    """Render with and without the occluder: where the picture changed, nothing of the face may be seen."""
    hidden = 0
    for index in [i for i in range(60) if draw_factors("cat", "train", i).surroundings.occluder is not None][:6]:
        covered = render("cat", "train", index, size=96)
        with monkeypatch.context() as patch:
            patch.setattr(renderer, "draw_factors", _without_occluder)
            bare = render("cat", "train", index, size=96)
        np.testing.assert_array_equal(covered.points, bare.points)
        changed = (covered.image != bare.image).any(-1)
        gone = bare.mask & ~covered.mask
        assert not (covered.mask & ~bare.mask).any()
        assert changed[gone].mean() > 0.99
        assert (covered.mask & changed).sum() < 0.25 * max(changed.sum(), 1)  # a soft rim of a pixel
        lost = bare.visible & ~covered.visible
        assert not (covered.visible & ~bare.visible).any()
        assert all(changed[round(float(y)), round(float(x))] for x, y in covered.points[lost])
        hidden += int(lost.sum())
    assert hidden > 0


def _without_occluder(*arguments):
    factors = draw_factors(*arguments)
    return replace(factors, surroundings=replace(factors.surroundings, occluder=None))


def test_the_documented_share_of_pictures_has_something_in_front():
    traits = load_species("dog").draw(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    share = np.mean([draw_surroundings(traits.scene, traits.coat, rng).occluder is not None for _ in range(3000)])
    assert share == pytest.approx(OCCLUDED_SHARE, abs=0.02)


def test_a_turned_snout_hides_the_far_side_first():
    far = near = 0
    for index in range(120):
        yaw = draw_factors("fox", "train", index).one.pose[0]
        if abs(yaw) > 20:
            _, visible = landmarks_only("fox", "train", index)
            left, right = int((~visible[[0, 1, 5]]).sum()), int((~visible[[2, 3, 6]]).sum())
            # Yaw above 0 turns the nose to the image right, so that the image-right half is behind it.
            far, near = far + (right if yaw > 0 else left), near + (left if yaw > 0 else right)
    assert far > near + 5


def test_dark_glasses_hide_the_eyes_and_clear_ones_do_not():
    human = own_table("human", {"glasses": [0.9, 1.0], "style": {"none": 1}})
    bald = own_table("human", {"glasses": 0, "style": {"none": 1}})
    dark = 0
    for index in range(12):
        factors = draw_factors(human, "train", index)
        with_glasses, without = (landmarks_only(table, "train", index)[1] for table in (human, bald))
        assert np.array_equal(with_glasses[4:], without[4:])
        is_dark = bool(factors.one.chance[7] < 0.3)
        dark += is_dark
        assert not with_glasses[:4].any() if is_dark else np.array_equal(with_glasses, without)
    assert 0 < dark < 12


def own_table(species: str, hair: Mapping[str, object]):
    shipped = yaml.safe_load((resources.files("dife_lightning.world") / "species.yaml").read_text("utf-8"))
    table = shipped[species]
    return parse_species(species, {**table, "hair": {**table["hair"], **hair}})


@pytest.mark.parametrize("species", SPECIES)
def test_ears_are_off_the_mask_and_hair_within_the_outline_is_on_it(species):
    x, y = np.meshgrid(*2 * [np.arange(64, dtype=np.float32)])
    on_ears = on_hair = 0
    for index in range(10):
        factors, mask = draw_factors(species, "val", index), sample(species, index).mask
        if factors.surroundings.occluder is not None:
            continue
        plane, height = cast(factors.relief, factors.camera(64, Framing()), x, y)
        head = np.isfinite(height)
        surface, face = read_surface(factors.relief, factors.one, *plane[head].T), mask[head]
        assert not face[surface.ear > 0].any()
        hair = (surface.hair > 0) & (surface.ear < 0) & (surface.radius < 1)
        assert face[hair].all()
        on_ears, on_hair = on_ears + int((surface.ear > 0).sum()), on_hair + int(hair.sum())
    assert on_ears > 20
    assert (on_hair > 100) == (set(load_species(species).table["hair"]["style"].values) != {"none"})
