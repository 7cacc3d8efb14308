"""The base of landmark models, with a model that finds known points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceBatch, PairBatch
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


def pairs(points=LAYOUT_POINTS, seen=slice(None)):
    visible = torch.zeros(2, points, dtype=torch.bool)
    visible[:, seen] = True
    images = torch.stack([torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), -0.25)])
    where = torch.rand(2, points, 2)
    return PairBatch(
        images.flip(0), images, where, where, visible, torch.arange(2), ["a>b", "c>d"], "human+dog", "plain", "val"
    )


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


def test_other_points_cannot_be_transferred():
    with pytest.raises(ConfigError, match="Fixed transfers the landmarks of the protocols 9-point, 3-point alone"):
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
