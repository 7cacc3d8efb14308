"""The base of landmark models, with a model that finds known points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceBatch, PairBatch
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.faces.schemes import LAYOUT, LAYOUT_POINTS, get_scheme, to_layout
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._landmarks import LandmarkModule


class Fixed(LandmarkModule):
    """Finds the points 10 k, 10 k + 1, moved by the mean of the image."""

    def __init__(self, scheme="animalweb-9"):
        super().__init__()
        self.scheme = scheme

    def detect(self, images):
        count = len(get_scheme(self.scheme).landmarks)
        points = torch.arange(count)[:, None] * 10.0 + torch.tensor([0.0, 1.0])
        found = points + images.mean(dim=(1, 2, 3))[:, None, None]
        return Detections(found, torch.ones(found.shape[:2]))


def pairs(points=LAYOUT_POINTS, seen=slice(None), own=()):
    visible = torch.zeros(2, points, dtype=torch.bool)
    visible[:, seen] = True
    images = torch.stack([torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), -0.25)])
    where = torch.rand(2, points, 2)
    return PairBatch(
        images.flip(0), images, where, where, visible, torch.arange(2), ["a>b", "c>d"], "human+dog", "plain", "val",
        own=own,
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["animalweb-9", "wflw-98", "300w-68"])
def test_a_transfer_is_what_the_model_finds_in_the_target(scheme):
    model, batch = Fixed(scheme), pairs()
    found = model.transfer_batch(batch)
    for row in range(2):
        points = model.detect(batch.target_image).points[row].numpy()
        expected, _ = to_layout(points, np.ones(len(points), bool), scheme)
        np.testing.assert_allclose(found[row], expected, atol=1e-4)
    assert torch.equal(model.predict_step(batch, 0).points, found)


def test_a_protocol_that_the_scheme_lacks_is_refused_unless_no_point_of_it_counts():
    model = Fixed("mafl-5")
    with pytest.raises(ConfigError, match="scheme 'mafl-5' of Fixed lacks a protocol of the pairs; it has 3-point"):
        model.transfer_batch(pairs())
    found = model.transfer_batch(pairs(seen=LAYOUT["3-point"]))
    np.testing.assert_allclose(found[0, LAYOUT["3-point"], 0], [0.5, 10.5, 20.5])


@pytest.mark.parametrize(("left", "expected"), [("viewer", [20.5, 0.5, 30.5]), ("subject", [20.5, 10.5, 40.5])])
def test_named_points_are_found_by_their_meaning_for_the_viewer(left, expected):
    model = Fixed(scheme_from_names(["eye_l", "eye_r", "snout", "ear_l", "ear_r"], left=left))
    own = ("snout", "left_eye", "left_ear")
    found = model.transfer_batch(pairs(points=LAYOUT_POINTS + 3, own=own))
    np.testing.assert_allclose(found[0, LAYOUT_POINTS:, 0], expected)


def test_a_named_point_that_the_model_does_not_have_is_an_error():
    with pytest.raises(ConfigError, match=r"Fixed has no point left_horn, which is scored; it has .*nose"):
        Fixed().transfer_batch(pairs(points=LAYOUT_POINTS + 1, own=("left_horn",)))


def test_points_without_a_name_cannot_be_transferred():
    with pytest.raises(ConfigError, match="Fixed transfers the landmarks of the protocols 9-point, 3-point and named"):
        Fixed().transfer_batch(pairs(points=4))


def test_single_faces_are_predicted_from_their_images_alone():
    images = torch.rand(3, 3, 8, 8)
    unknown = torch.full((3, 9, 2), torch.nan)
    batch = FaceBatch(
        images, unknown, torch.zeros(3, 9, dtype=torch.bool), torch.full((3, 4), torch.nan), torch.arange(3),
        ["a", "b", "c"], [], "dog", "test",
    )  # fmt: skip
    model = Fixed()
    assert len(batch) == 3
    assert torch.equal(model.predict_step(batch, 0).points, model.detect(images).points)
    assert (model.monitor, model.validation_step(batch, 0), model.test_step(batch, 0)) == ("val/nme", None, None)
