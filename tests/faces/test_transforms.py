from __future__ import annotations

import random

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.faces.transforms import FaceTransform, resize

PAIRS = ((0, 1),)
SEEN = np.ones(3, dtype=bool)


def blob_image(points: np.ndarray, side: int = 64) -> np.ndarray:
    """One Gaussian spot per channel, so that each point can be found again in the pixels."""
    y, x = np.mgrid[:side, :side]
    spots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points]
    return (255 * np.stack(spots, -1)).round().astype(np.uint8)


def centroids(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    mass = image.astype(np.float64)
    mass[mass < 20] = 0
    return (
        np.stack([(mass * x[..., None]).sum((0, 1)), (mass * y[..., None]).sum((0, 1))], -1) / mass.sum((0, 1))[:, None]
    )


POINTS = np.array([[20, 24], [42, 26], [31, 40]], dtype=np.float32)


@pytest.mark.parametrize("size", [32, 48, 96])
def test_resized_points_lie_on_their_spots(size):
    image, points = resize(blob_image(POINTS), POINTS, size)
    assert image.shape == (size, size, 3)
    np.testing.assert_allclose(points, centroids(image), atol=0.15)


def test_transformed_points_lie_on_their_spots_through_crop_resize_and_flip():
    transform = FaceTransform(48, crop_scale=(0.7, 1.0), flip=0.5, flip_pairs=PAIRS)
    worst, flipped = 0.0, 0
    for index in range(40):
        image, points, visible = transform(blob_image(POINTS), POINTS, SEEN, index=index)
        found = centroids(image)
        was_flipped = points[0, 0] < points[1, 0] and found[0, 0] > found[1, 0]
        flipped += was_flipped
        expected = found[[1, 0, 2]] if was_flipped else found
        inside = ((points > 6) & (points < 41)).all(-1)
        worst = max(worst, np.abs(points - expected)[inside & visible].max(initial=0))
    assert worst < 0.3  # half a pixel is what a mixed convention would cost
    assert 8 < flipped < 32


def test_flip_exchanges_the_pairs_and_twice_is_the_identity():
    transform = FaceTransform(64, flip=1.0, flip_pairs=PAIRS)
    visible = np.array([True, False, True])
    image, points, seen = transform(blob_image(POINTS), POINTS, visible)
    np.testing.assert_allclose(points, np.stack([63 - POINTS[[1, 0, 2], 0], POINTS[[1, 0, 2], 1]], -1), atol=1e-4)
    assert seen.tolist() == [False, True, True]
    image, points, seen = transform(image, points, seen)
    np.testing.assert_allclose(points, POINTS, atol=1e-4)
    np.testing.assert_array_equal(image, blob_image(POINTS))


def test_points_that_leave_the_picture_stay_in_their_row_and_turn_invisible():
    points = np.array([[-20, 5], [np.nan, np.nan], [31, 40]], dtype=np.float32)
    _, moved, visible = FaceTransform(32, flip=1.0, flip_pairs=())(blob_image(POINTS), points, SEEN)
    assert moved.shape == (3, 2)
    assert np.isnan(moved[1]).all()
    assert visible.tolist() == [False, False, True]


def make(seed: int = 0) -> FaceTransform:
    return FaceTransform(32, crop_scale=(0.5, 0.9), flip=0.5, flip_pairs=PAIRS, jitter=0.4, seed=seed)


def draw(transform: FaceTransform, epoch: int, index: int) -> np.ndarray:
    return transform(blob_image(POINTS), POINTS, SEEN, epoch=epoch, index=index)[0]


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    first, second = make(), make()
    order = [(0, 3), (0, 1), (1, 3), (0, 2)]
    by_key = {key: draw(first, *key) for key in order}
    np.random.seed(7)
    random.seed(7)
    for key in reversed(order):
        np.testing.assert_array_equal(draw(second, *key), by_key[key])
    assert len({image.tobytes() for image in by_key.values()}) == len(order)
    assert not np.array_equal(draw(make(1), 0, 3), by_key[0, 3])


@pytest.mark.parametrize("arguments", [{"size": 0}, {"size": 8, "flip": 1.5}, {"size": 8, "crop_scale": (0.0, 1.0)}])
def test_senseless_settings_are_refused(arguments):
    with pytest.raises(ConfigError, match="expected size >= 1"):
        FaceTransform(**arguments)
