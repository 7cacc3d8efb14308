"""Boxes of faces against the mask and the landmarks of the renders, which share no code with them."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world import Framing, face_box, list_species, render

STILL = Framing()
TURNED = Framing(rotation_deg=-21, scale=0.8, shift_x=0.04, shift_y=-0.06)


def mask_box(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()], dtype=float)


@pytest.mark.parametrize("framing", [STILL, TURNED], ids=["plain", "turned"])
@pytest.mark.parametrize("species", list_species())
def test_a_box_holds_the_mask_and_all_visible_landmarks(species, framing):
    slack = []
    for index in range(5):
        sample = render(species, "val", index, size=64, framing=framing)
        box = face_box(species, "val", index, size=64, framing=framing)
        seen = sample.points[sample.visible]
        assert (seen >= box[:2]).all()
        assert (seen <= box[2:]).all()
        found = mask_box(sample.mask)
        assert (found[:2] >= box[:2] - 1).all()
        assert (found[2:] <= box[2:] + 1).all()
        slack.append(np.abs(found - box))
    assert np.median(slack) < 1.5  # a box is as small as the mask, unless something hides a part of the face


def test_a_box_grows_with_the_image_and_moves_with_it():
    small, large = (face_box("cat", "test", 3, size=size).astype(float) for size in (32, 128))
    np.testing.assert_allclose((small + 0.5) * 4 - 0.5, large, atol=1e-3)
    moved = face_box("cat", "test", 3, size=32, framing=Framing(shift_x=0.5, shift_y=-0.25)).astype(float)
    np.testing.assert_allclose(moved, small + np.array([16, -8, 16, -8]), atol=1e-3)
    assert (moved[2:] > 32).any()  # beyond the border of the image


def test_wrong_arguments_are_refused():
    with pytest.raises(ConfigError, match="size is 4"):
        face_box("cat", "test", 0, size=4)
    with pytest.raises(ConfigError, match="no species 'unicorn'"):
        face_box("unicorn", "test", 0)
