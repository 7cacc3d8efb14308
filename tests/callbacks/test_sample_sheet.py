"""The sheet of samples."""

from __future__ import annotations

import pytest
import torch

from dife_lightning.callbacks.sample_sheet import SampleSheet, image_grid
from dife_lightning.errors import ConfigError


def test_images_lie_row_by_row() -> None:
    images = torch.stack([torch.full((3, 2, 2), value) for value in (-1.0, 0.0, 1.0)])
    sheet = image_grid(images, columns=2)
    assert sheet.shape == (4, 4, 3)
    assert (sheet[:2, :2] == 0).all()
    assert (sheet[:2, 2:] == 128).all()
    assert (sheet[2:, :2] == 255).all()
    assert (sheet[2:, 2:] == 0).all()


def test_values_outside_the_range_are_clipped() -> None:
    assert image_grid(torch.full((1, 3, 1, 1), 7.0), 1).max() == 255


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="every_images"):
        SampleSheet(every_images=0)
