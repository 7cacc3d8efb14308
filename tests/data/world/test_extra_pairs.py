from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.data.world.extra_pairs import extra_batches, point_groups, transfer_extra
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.errors import ConfigError
from dife_lightning.methods.copy_xy import CopyXY
from dife_lightning.methods.frozen_embedder import FrozenEmbedder
from dife_lightning.methods.mean_shape import MeanShape
from dife_lightning.metrics.keypoint_transfer import keypoint_transfer_scores
from tests.tiny import write_teacher


@pytest.fixture(scope="module")
def batches():
    return list(extra_batches("human+dog", 5, list_name="paper", size=48, batch_size=3))


@pytest.fixture(scope="module")
def pairs():
    data = WorldPairs(lists=["paper"], framings=["jittered"], size=48, cache=False)
    data.setup("test")
    return data.test_sets[0]


def test_the_landmarks_of_the_pairs_are_those_of_a_test(batches, pairs):
    assert [len(batch) for batch in batches] == [3, 2]
    for number in range(5):
        batch, row, wanted = batches[number // 3], number % 3, pairs[number]
        assert batch.pair_id[row] == wanted.pair_id
        for name in ("source", "target"):
            image = (getattr(wanted, f"{name}_image") / 127.5 - 1).astype(np.float32)
            np.testing.assert_allclose(getattr(batch, f"{name}_image")[row].permute(1, 2, 0), image, atol=1e-6)
            np.testing.assert_allclose(getattr(batch, f"{name}_points")[row, :9], getattr(wanted, f"{name}_points")[:9])
        np.testing.assert_array_equal(batch.visible[row, :9], wanted.visible[:9])


def test_every_point_has_a_group_and_a_place(batches):
    groups = point_groups()
    assert list(groups.values()).count("landmarks") == 9
    assert {"face", "ears"} < set(groups.values())
    assert all(batch.target_points.shape == (len(batch), len(groups), 2) for batch in batches)
    seen = torch.cat([batch.visible for batch in batches]).float().mean(0)
    assert seen[9:].mean() > 0.3


def test_copied_points_have_the_distance_of_the_places(batches):
    table = transfer_extra(CopyXY(), batches)
    for number, batch in ((0, batches[0]), (4, batches[1])):
        row = number % 3
        distance = (batch.source_points[row] - batch.target_points[row]).norm(dim=-1) * 70 / 48
        np.testing.assert_allclose(table.errors[number], distance, rtol=1e-5)
    assert table.landmarks == tuple(point_groups())
    assert table.pair_ids[3:] == tuple(batches[1].pair_id)


def test_an_embedder_errs_on_the_landmarks_as_it_does_in_a_test(batches, pairs, tmp_path):
    method = FrozenEmbedder(write_teacher(tmp_path / "teacher.safetensors"))
    table = transfer_extra(method, batches)
    batch = pairs.collate([(i, pairs[i]) for i in range(5)])
    points = (method.transfer_batch(batch)[:, :9], batch.target_points[:, :9], batch.visible[:, :9])
    scores = keypoint_transfer_scores(*points, torch.full((5,), 48.0), "9-point")
    assert table.errors[:, :9][table.visible[:, :9]].mean() == pytest.approx(scores.pixel_error, abs=1e-5)


def test_a_method_of_the_protocols_alone_is_refused_in_one_line(batches):
    with pytest.raises(ConfigError, match="MeanShape transfers only the landmarks of the protocols") as caught:
        transfer_extra(MeanShape(), batches)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="expected one or more"):
        next(extra_batches("human+dog", 0))
