"""The geometric truth: landmarks, canonical coordinates and framing fit one another and the picture."""

from __future__ import annotations

import cmath
import math

import cv2
import numpy as np
import pytest

from dife_lightning.world import CANONICAL_LANDMARKS, Framing, draw_framing
from dife_lightning.world.scene.framing import framing_for
from tests.world.samples import JITTER, SPECIES, read_bilinear, sample

FRAMINGS = [JITTER, Framing(-29.0, 1.25, -0.1, 0.1), Framing(scale=0.75), Framing(shift_x=0.1)]


def by_complex_numbers(points, framing, size):
    """The framing written with complex numbers: turn and scale about the centre, then shift."""
    center = complex(size - 1, size - 1) / 2
    turn = framing.scale * cmath.exp(1j * math.radians(framing.rotation_deg))
    moved = [(complex(*p) - center) * turn + center + size * complex(framing.shift_x, framing.shift_y) for p in points]
    return np.array([(m.real, m.imag) for m in moved])


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("species", ["human", "cat"])
def test_framing_moves_the_landmarks_by_exactly_its_affine_map(species, framing):
    plain, framed = sample(species, 6, size=70), sample(species, 6, size=70, framing=framing)
    np.testing.assert_allclose(framed.points, by_complex_numbers(plain.points, framing, 70), atol=2e-5)


def test_framing_moves_the_picture_as_opencv_does():
    plain, framed = sample("dog", 6, size=96), sample("dog", 6, size=96, framing=JITTER)
    matrix = cv2.getRotationMatrix2D((47.5, 47.5), -JITTER.rotation_deg, JITTER.scale)  # OpenCV turns the other way
    matrix[:, 2] += 96 * JITTER.shift_x, 96 * JITTER.shift_y
    np.testing.assert_allclose(JITTER.matrix(96), matrix, atol=1e-9)
    warped = cv2.warpAffine(plain.image, matrix, (96, 96), flags=cv2.INTER_AREA)
    inside = cv2.warpAffine(np.ones((96, 96)), matrix, (96, 96)) == 1
    assert np.abs(warped.astype(float) - framed.image)[inside].mean() < 4


@pytest.mark.parametrize("species", SPECIES)
def test_framing_moves_the_canonical_coordinates_along(species):
    plain, framed = sample(species, 8, size=96), sample(species, 8, size=96, framing=JITTER)
    back = np.linalg.inv(np.vstack((JITTER.matrix(96), (0, 0, 1))))[:2]
    rows, cols = np.nonzero(framed.mask)
    places = np.column_stack((cols, rows)) @ back[:, :2].T + back[:, 2]
    expected = np.array([read_bilinear(plain.uv, x, y) for x, y in places])
    inside = np.isfinite(expected).all(1)
    off = np.abs(expected - framed.uv[rows, cols])[inside].max(1)
    assert inside.mean() > 0.85  # the others touch the border of the mask
    assert np.mean(off < 0.02) > 0.92  # interpolation mixes the two sides of a snout's silhouette
    assert np.median(off) < 0.001


@pytest.mark.parametrize("species", SPECIES)
def test_canonical_coordinates_at_a_landmark_are_those_of_the_landmark(species):
    off = []
    for index in range(20):
        one = sample(species, index, size=128)
        for k in np.flatnonzero(one.visible):
            off.append(np.abs(read_bilinear(one.uv, *one.points[k]) - CANONICAL_LANDMARKS[k]).max())
    known = np.array(off)[np.isfinite(off)]
    assert len(known) > 0.9 * len(off) > 120  # eye corners at the rim of the mask have no four neighbours
    assert np.mean(known < 0.02) > 0.92  # a landmark on a silhouette mixes the snout and what is behind it
    assert np.median(known) < 0.005


@pytest.mark.parametrize(("source", "target"), [*(("human", species) for species in SPECIES[1:]), ("dog", "cat")])
def test_nearest_canonical_coordinates_carry_landmarks_from_species_to_species(source, target):
    errors = []
    for index in range(10):
        a, b = sample(source, index, size=70), sample(target, 100 + index, size=70)
        for k in np.flatnonzero(a.visible & b.visible):
            wanted = read_bilinear(a.uv, *a.points[k])
            if np.isfinite(wanted).all():
                away = np.nan_to_num(np.square(b.uv - wanted).sum(-1), nan=np.inf)
                row, col = np.unravel_index(away.argmin(), away.shape)
                errors.append(math.dist((col, row), b.points[k]))
    assert len(errors) > 60
    assert np.median(errors) < 0.8


@pytest.mark.parametrize("species", SPECIES)
def test_canonical_coordinates_do_not_fold(species):
    for index in range(4):
        one = sample(species, index, size=96)
        right, down = np.diff(one.uv, axis=1)[:-1], np.diff(one.uv, axis=0)[:, :-1]
        area = right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
        area = area[np.isfinite(area)]
        assert np.mean(area > 0) > 0.985  # neighbours on both sides of a silhouette may be in any order


def test_the_head_turns_as_its_pose_says():
    noses, poses = [], []
    for species in SPECIES:
        for index in range(7):
            one = sample(species, index, size=128)
            eyes = one.points[:4].mean(0)
            noses.append((one.points[4, 0] - eyes[0], one.points[2, 1] - one.points[1, 1]))
            poses.append((one.pose[0], one.pose[2]))
    noses, poses = np.array(noses), np.array(poses)
    assert np.corrcoef(noses[:, 0] / 128, poses[:, 0])[0, 1] > 0.6  # nose to the image right for yaw above 0
    assert np.corrcoef(noses[:, 1] / 128, poses[:, 1])[0, 1] > 0.6  # image-right eye lower for clockwise roll


def test_a_jittered_framing_stays_within_the_evaluations_ranges():
    rng = np.random.default_rng(0)
    drawn = np.array([list(vars(draw_framing("jittered", rng)).values()) for _ in range(4000)])
    low, high = np.array([-29, 0.75, -0.1, -0.1]), np.array([29, 1.25, 0.1, 0.1])
    assert np.all(drawn >= low)
    assert np.all(drawn <= high)
    filled = (drawn.max(0) - drawn.min(0)) / (high - low)
    assert np.all(filled > 0.99)
    assert np.all(np.abs(drawn.mean(0) - (low + high) / 2) < 0.02 * (high - low))


def test_the_framing_of_an_item_depends_on_seed_and_index_alone():
    framings = {framing_for("jittered", seed, index) for seed in range(5) for index in range(20)}
    assert len(framings) == 100
    assert framing_for("jittered", 3, 7) in framings
    assert framing_for("plain", 3, 7) == Framing()
