"""The world's geometry against closed forms and slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dife_lightning.world import Framing, load_species
from dife_lightning.world.face.anatomy import draw_individual
from dife_lightning.world.face.canonical import MIN_JACOBIAN, ThinPlateSpline, canonical_map, smallest_jacobian
from dife_lightning.world.scene.camera import cast, rotation_matrix
from dife_lightning.world.scene.factors import draw_factors, sample_rng
from tests.world.samples import SPECIES


def test_the_spline_goes_through_its_points():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 25, 2))
    np.testing.assert_allclose(ThinPlateSpline(source, target)(source), target, atol=1e-9)


def test_the_spline_of_an_affine_map_is_that_map():
    rng = np.random.default_rng(1)
    source, linear, offset = rng.normal(size=(12, 2)), rng.normal(size=(2, 2)), rng.normal(size=2)
    spline, elsewhere = ThinPlateSpline(source, source @ linear + offset), 3 * rng.normal(size=(50, 2))
    np.testing.assert_allclose(spline(elsewhere), elsewhere @ linear + offset, atol=1e-8)


def test_the_spline_agrees_with_its_definition_point_by_point():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(2, 8, 2))
    spline, (x, y) = ThinPlateSpline(source, target), (0.3, -0.7)
    expected = spline.affine[0] + x * spline.affine[1] + y * spline.affine[2]
    for weight, (px, py) in zip(spline.bending, source, strict=True):
        square = (x - px) ** 2 + (y - py) ** 2
        expected = expected + weight * square * math.log(square)
    np.testing.assert_allclose(spline(np.array([[x, y]]))[0], expected, atol=1e-10)


@pytest.mark.parametrize("species", SPECIES)
def test_no_drawn_face_folds(species):
    for index in range(6):
        factors = draw_factors(species, "test", index)
        assert smallest_jacobian(factors.spline, factors.one) > MIN_JACOBIAN


@pytest.mark.parametrize("species", SPECIES)
def test_few_faces_of_a_species_fold_when_first_drawn(species):
    table = load_species(species)
    first = [draw_individual(table, sample_rng(species, "train", index)) for index in range(60)]
    folded = [smallest_jacobian(canonical_map(one), one) <= MIN_JACOBIAN for one in first]
    assert sum(folded) <= 3


def test_rotations_are_proper_and_turn_the_nose_the_documented_way():
    turned = rotation_matrix(20, 10, 5)
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)
    nose, right = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
    assert (rotation_matrix(20, 0, 0) @ nose)[0] == pytest.approx(math.sin(math.radians(20)))
    assert (rotation_matrix(0, 10, 0) @ nose)[1] == pytest.approx(math.sin(math.radians(10)))
    assert (rotation_matrix(0, 0, 5) @ right)[1] == pytest.approx(math.sin(math.radians(5)))  # clockwise, y down


@pytest.mark.parametrize("species", ["dog", "human"])
def test_rays_find_the_first_surface_that_a_dense_march_finds(species):
    factors, size = draw_factors(species, "train", 3), 24
    camera = factors.camera(size, Framing())
    x, y = np.meshgrid(*2 * [np.arange(size, dtype=np.float32)])
    plane, height = cast(factors.relief, camera, x, y)
    base, drift = camera.rays()
    wrong = []
    for row in range(size):
        for col in range(size):
            levels = np.linspace(float(factors.relief.height.max()), 0, 1500)
            start = base[:, :2] @ (col, row) + base[:, 2]
            places = start + levels[:, None] * drift
            above = np.abs(places).max(1) < 1.8
            hits = np.flatnonzero(above & (factors.relief.at(places) >= levels))
            found = levels[hits[0]] if hits.size else math.nan
            wrong.append(
                not ((math.isnan(found) and math.isnan(height[row, col])) or abs(found - height[row, col]) < 0.02)
            )
            if hits.size and not wrong[-1]:
                np.testing.assert_allclose(plane[row, col], places[hits[0]], atol=0.02)
    assert np.mean(wrong) < 0.03  # grazing rays may pass a thin ridge between two steps


@pytest.mark.parametrize("species", SPECIES)
def test_the_camera_sends_what_a_ray_meets_back_to_its_pixel(species):
    factors = draw_factors(species, "val", 1)
    camera = factors.camera(40, Framing(12.0, 0.9, 0.05, 0.0))
    x, y = np.meshgrid(*2 * [np.arange(40, dtype=np.float32)])
    plane, height = cast(factors.relief, camera, x, y)
    head = np.isfinite(height)
    assert head.mean() > 0.1
    pixels, _ = camera.project(np.column_stack((plane[head], height[head])).astype(np.float64))
    np.testing.assert_allclose(pixels, np.column_stack((x[head], y[head])), atol=1e-3)
