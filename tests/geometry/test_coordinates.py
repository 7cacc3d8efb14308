from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dife_lightning.geometry.coordinates import mirror_points, pixel_grid, to_normalized, to_pixels, turn_points


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_points_stay_on_their_pixels(orientation):
    stored = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(stored)
    picture.info["exif"] = exif.tobytes()
    shown = np.array(ImageOps.exif_transpose(picture))
    assert shown.shape == ((7, 5) if orientation >= 5 else (5, 7))
    y, x = np.indices(stored.shape)
    points = turn_points(torch.tensor(np.stack((x, y), -1), dtype=torch.float32), 7, 5, orientation)
    columns, rows = points.long().unbind(-1)
    assert np.array_equal(shown[rows, columns], stored)


def test_mirrored_points_stay_on_their_pixels_whatever_the_width_of_each_image():
    image, points = torch.arange(35).reshape(5, 7), pixel_grid(5, 7).reshape(1, -1, 2)
    columns, rows = mirror_points(points, 7)[0].long().unbind(-1)
    assert torch.equal(image.flip(-1)[rows, columns], image.flatten())
    several = mirror_points(points.expand(2, -1, -1), torch.tensor([7, 9]))
    torch.testing.assert_close(several[0], mirror_points(points, 7)[0])
    torch.testing.assert_close(several[1], mirror_points(points, 9)[0])


@pytest.mark.parametrize("align_corners", [False, True])
def test_normalized_coordinates_are_those_at_which_a_grid_samples_the_pixel_itself(align_corners):
    image = torch.arange(35.0).reshape(1, 1, 5, 7)
    grid = to_normalized(pixel_grid(5, 7), 7, 5, align_corners)
    sampled = torch.nn.functional.grid_sample(image, grid[None], align_corners=align_corners)
    torch.testing.assert_close(sampled, image)
    torch.testing.assert_close(to_pixels(grid, 7, 5, align_corners), pixel_grid(5, 7))
    assert (grid[0, 0].tolist() == [-1, -1]) == align_corners
