from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.geometry.affine_crops import affine_crop
from dife_lightning.geometry.crops import Square, crop_image


def ramp(width=90, height=70):
    """Return a picture whose red is 2 x and green 3 y at pixel (x, y), and blue 200."""
    y, x = np.mgrid[:height, :width]
    return np.stack((2 * x, 3 * y, np.full_like(x, 200)), -1).astype(np.uint8)


def turned(degrees, scale, centre, size):
    """Return the map that turns about the crop's centre, which is at ``centre`` of the picture."""
    angle = np.radians(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack((linear, np.array(centre) - linear @ np.full(2, (size - 1) / 2)))


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.3, 2.2])
def test_each_pixel_is_the_picture_at_the_place_that_the_map_says(scale):
    size = 18
    to_picture = turned(25, scale, (44, 33), size)
    crop = affine_crop(ramp(), to_picture, size)
    for v in range(size):
        for u in range(size):
            x, y = to_picture @ [u, v, 1]
            np.testing.assert_allclose(crop[v, u], [2 * x, 3 * y, 200], atol=0.51)  # a ramp survives any even filter


def test_outside_the_picture_is_padded_and_nothing_else():
    white = np.full((40, 40, 3), 255, np.uint8)
    size = 32
    inside = affine_crop(white, turned(45, 0.5, (19.5, 19.5), size), size)
    assert (inside == 255).all()  # a plain crop of these pixels, turned afterwards, has black corners
    at_corner = turned(0, 1.0, (0, 0), size)  # columns and rows below 16 are outside
    crop = affine_crop(white, at_corner, size)
    assert (crop[16:, 16:] == 255).all()
    assert not crop[:15].any()
    assert not crop[:, :15].any()
    assert (affine_crop(white, at_corner, size, "border") == 255).all()


@pytest.mark.parametrize(("padding", "outside"), [("border", [0, 0, 0]), ("reflect", [20, 10, 0])])
def test_padding_repeats_or_mirrors_the_edge(padding, outside):
    picture = np.zeros((5, 5, 3), np.uint8)
    picture[:] = np.arange(5)[None, :, None] * 10
    crop = affine_crop(picture, np.array([[1.0, 0, -3], [0, 1, 0]]), 6, padding)[2, :, 0]
    assert crop.tolist() == [*outside, 0, 10, 20]


@pytest.mark.parametrize("side", [24.0, 48.0, 61.7, 110.0])
def test_without_turning_it_is_the_plain_crop(side):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (150, 150, 3), dtype=np.uint8)  # noise: blur shows
    square = Square(75.3, 71.8, side)
    plain = crop_image(picture, square, 48).astype(float)
    again = affine_crop(picture, square.matrix(48), 48).astype(float)
    assert np.abs(plain - again).mean() < 0.2 * plain.std()
    assert again.std() == pytest.approx(plain.std(), rel=0.06)
    assert np.corrcoef(plain.ravel(), again.ravel())[0, 1] > 0.96
