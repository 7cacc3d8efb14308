from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dife_lightning.geometry import turn_points


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
